"""What a test may do to its own process without harm to the others, and what a run must bear."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.running import Ended, Running, Stage
from tests.e2e.test_faults import OTHERS, around

START = pytest.mark.parametrize("start", ["--start-method=fork", "--start-method=spawn"])

RUDE = {
    "closes the low descriptors": "os.closerange(3, 256)",
    "closes all descriptors": "os.closerange(0, 1 << 16)",
    "closes the standard streams' descriptors": "os.close(0); os.close(1); os.close(2)",
    "closes the stream objects": "sys.stdout.close(); sys.stderr.close()",
    "replaces the streams": "sys.stdout = sys.stderr = None",
    "replaces the original streams": "sys.__stdout__ = sys.__stderr__ = None",
    "wipes the environment": "os.environ.clear()",
    "handles all signals": """
        for n in range(1, signal.NSIG):
            if n not in (signal.SIGKILL, signal.SIGSTOP, 32, 33): signal.signal(n, signal.SIG_IGN)
    """,
    "blocks all signals": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))",
    "leads a process group of its own": "os.setpgid(0, 0)",
    "signals its process group": """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(os.getpgid(0), signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    """,
    "leaves a thread": """
        import threading
        threading.Thread(target=threading.Event().wait).start()
    """,
    "leaves garbage that cannot be finalized": """
        class Odd:
            def __del__(self): os.write(2, b"")
        odd = Odd(); odd.me = odd
    """,
    "collects no garbage": "import gc; gc.disable()",
    "traces": "sys.settrace(lambda *_: None); sys.setprofile(lambda *_: None)",
    "recurses": """
        def deep(): deep()
        with pytest.raises(RecursionError): deep()
    """,
    "limits its descriptors": """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    """,
    "limits its memory": """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        with pytest.raises(MemoryError): bytearray(2**31)
    """,
    "patches what the worker uses": """
        import select, socket, struct, time
        def refuse(*_, **__): raise AssertionError
        for module in (select, socket, struct, time):
            for name in vars(module):
                if callable(getattr(module, name)): monkeypatch.setattr(module, name, refuse)
        for name in ("getpid", "read", "write", "fork", "pwrite", "truncate", "fstat"):
            monkeypatch.setattr(os, name, refuse)
    """,
    "turns the heap upside down": "import gc; gc.unfreeze(); gc.collect()",
}


@START
@pytest.mark.parametrize("deed", RUDE)
def test_a_rude_test_harms_no_other(stage: Stage, deed: str, start: str) -> None:
    """It passes or fails, and the others run in its worker as they would elsewhere."""
    source = "\n    ".join(["note('ran it')", *_unindented(RUDE[deed]).splitlines()])
    stage.write(test_a=around(f"def test_rude(monkeypatch):\n    {source}"))
    run = stage.run(start, workers=1)
    assert run.ran == OTHERS + Counter(["it"])
    assert run.counts.get("passed", 0) >= 12, run.text
    assert run.exit in (0, 1)


def _unindented(text: str) -> str:
    import textwrap

    return textwrap.dedent(text).strip()


@START
def test_a_deleted_working_directory_harms_only_who_asks_for_it(stage: Stage, start: str) -> None:
    stage.write(
        test_a=around("""
def test_rude(tmp_path):
    os.chdir(tmp_path)
    tmp_path.rmdir()
""")
    )
    run = stage.run(start, workers=1)
    assert (run.exit, run.counts) == (0, {"passed": 13})
    assert run.ran == OTHERS


@START
def test_a_test_that_needs_more_memory_than_there_is_fails_alone(stage: Stage, start: str) -> None:
    stage.write(test_a=around("def test_hoards():\n    bytearray(2**40)"))
    run = stage.prepare(start)
    run.precede_with(f"ulimit -v {2**20};")  # kilobytes, for each process
    ended = run.start().end()
    assert (ended.exit, ended.counts) == (1, {"passed": 12, "failed": 1})
    assert ended.ran == OTHERS
    assert "MemoryError" in ended.report("test_hoards")


@START
def test_a_child_that_a_test_leaves_is_left_alone(stage: Stage, start: str) -> None:
    """As in a serial run. It holds the capture's files and does not keep the run from ending."""
    stage.write(
        test_a=around("""
def test_leaves():
    import subprocess
    code = "from e2e_notes import hold; hold('child')"
    subprocess.Popen([sys.executable, "-c", code])
""")
    )
    run = stage.start(start, gates=("child",))
    run.expect("holding child")
    assert run.await_end() == 0
    assert len(run.processes()) == 1
    run.release("child")
    assert run.end().counts == {"passed": 13}


def test_multiprocessing_works_in_tests(stage: Stage) -> None:
    stage.write(
        test_a="""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        def double(n): return 2 * n
        @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
        def test_pool(method):
            context = multiprocessing.get_context(method)
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                assert list(pool.map(double, range(4))) == [0, 2, 4, 6]
            print("pooled", method)
        def test_queue():
            queue = multiprocessing.get_context("fork").Queue()
            child = multiprocessing.get_context("fork").Process(target=queue.put, args=(7,))
            child.start()
            assert queue.get(timeout=60) == 7
            child.join()
        """
    )
    run = stage.run("-rP")
    assert (run.exit, run.counts) == (0, {"passed": 4})
    assert "pooled spawn" in run.report("test_pool[spawn]")


FORKS = {
    "test": """
        def test_forks():
            print("printed before")
            child = os.fork()
            note("returns", bool(child))
            if child:
                os.waitpid(child, 0)
                note("waited")
    """,
    "failing test": """
        def test_forks():
            print("printed before")
            child = os.fork()
            note("returns", bool(child))
            if not child: raise ValueError("in the copy")
            os.waitpid(child, 0)
            note("waited")
    """,
    "exiting test": """
        def test_forks():
            print("printed before")
            child = os.fork()
            note("returns", bool(child))
            if not child: sys.exit(0)
            os.waitpid(child, 0)
            note("waited")
    """,
    "interrupted test": """
        def test_forks():
            print("printed before")
            child = os.fork()
            note("returns", bool(child))
            if not child: raise KeyboardInterrupt
            os.waitpid(child, 0)
            note("waited")
    """,
    "exit of pytest": """
        def test_forks():
            print("printed before")
            child = os.fork()
            note("returns", bool(child))
            if not child: pytest.exit("from the copy")
            os.waitpid(child, 0)
            note("waited")
    """,
    "setup": """
        @pytest.fixture
        def forks():
            child = os.fork()
            note("returns", bool(child))
            if child:
                os.waitpid(child, 0)
                note("waited")
        def test_forks(forks): print("printed before")
    """,
    "teardown": """
        @pytest.fixture
        def forks():
            yield
            child = os.fork()
            note("returns", bool(child))
            if child:
                os.waitpid(child, 0)
                note("waited")
        def test_forks(forks): print("printed before")
    """,
}


@START
@pytest.mark.parametrize("place", FORKS)
def test_a_copy_that_returns_into_pytest_ends_there(stage: Stage, place: str, start: str) -> None:
    """It neither runs other tests nor speaks for its worker, and takes no output from it."""
    stage.write(
        conftest="""
        @pytest.fixture(autouse=True)
        def around():
            yield
            note("down", os.getpid())
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport():
            note("reports", os.getpid())
            return (yield)
        """,
        test_a=around(_unindented(FORKS[place])),
    )
    run = stage.run(start, "-rA", workers=1)
    assert run.counts == {"passed": 13}
    assert run.exit == 0
    assert run.ran == OTHERS
    assert Counter(run.notes)["returns True"] == 1
    assert Counter(run.notes)["returns False"] == 1
    assert Counter(run.notes)["waited"] == 1
    reports = [line for line in run.notes if line.startswith("reports")]
    assert (len(reports), len(set(reports))) == (3 * 13, 1)
    downs = [line for line in run.notes if line.startswith("down")]
    # The copy is noticed at the end of a phase: the rest of a teardown that it forks in, it runs.
    assert (len(downs), len(set(downs))) == ((14, 2) if place == "teardown" else (13, 1))
    assert "printed before" in run.report("test_forks")


def test_a_copy_that_goes_on_by_itself_is_left_alone(stage: Stage) -> None:
    """A daemon that a test starts by forking, and stops in the next."""
    stage.write(
        test_a="""
        pids = []
        def test_starts():
            pid = os.fork()
            if pid == 0:
                note("daemon")
                hold("daemon")
                os._exit(7)
            pids.append(pid)
        def test_stops():
            hold("stop")
            assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7
        """
    )
    run = stage.start(gates=("daemon", "stop"), workers=1)
    run.expect("holding daemon", "holding stop")
    run.release("daemon")
    run.release("stop")
    assert run.end().counts == {"passed": 2}


# --- reports --------------------------------------------------------------------------------------


def test_a_report_of_fifty_megabytes(stage: Stage) -> None:
    stage.write(
        test_a=around("""
def test_prints(record_property):
    print("x" * 50_000_000)
    print("the end")
    record_property("size", 50_000_000)
""")
    )
    run = stage.run("-rP", "-k", "prints or before")
    assert (run.exit, run.counts["passed"]) == (0, 7)
    assert len(run.report("test_prints")) > 50_000_000
    assert "the end" in run.report("test_prints")


@START
def test_values_that_no_codec_knows_cost_their_type_and_nothing_else(
    stage: Stage, start: str
) -> None:
    stage.write(
        conftest="""
        class Odd:
            def __repr__(self): return "<odd>"
        class Worse:
            def __repr__(self): raise ValueError
            __str__ = __repr__
        class Worst(dict):
            def items(self): raise ValueError
            keys = values = __iter__ = items
        from unittest.mock import Mock
        VALUES = {
            "odd": Odd(), "worse": Worse(), "worst": Worst(a=1), "mock": Mock(spec=dict),
            "class": Odd, "function": len, "lock": __import__("threading").Lock(),
            "surrogate": "\\udc80", "big": 10**40, "complex": 1j, "set": {1}, "bytes": b"\\xff",
            "nan": float("nan"), "generator": (n for n in ()), "deep": None, "ring": [],
            "keys": {1: 2, (3,): 4, None: Odd()},
        }
        VALUES["ring"].append(VALUES["ring"])
        for _ in range(3000): VALUES["deep"] = [VALUES["deep"]]
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if item.name.startswith("test_odd") and call.when == "call":
                report.extra = VALUES[item.callspec.params["name"]]
                report.user_properties.append((item.callspec.params["name"], report.extra))
            return report
        """,
        test_a="""
        from conftest import VALUES
        @pytest.mark.parametrize("name", VALUES)
        def test_odd(name): note("ran", name)
        """,
    )
    run = stage.run(start, "-p", "no:junitxml")
    assert run.exit == 0
    assert run.counts == {"passed": len(run.ran)}
    assert len(run.ran) == 17


def test_texts_that_are_not_unicode_are_told(stage: Stage) -> None:
    """Lone surrogates: the names of files that are not UTF-8, as Python has them."""
    stage.write(
        test_a=r"""
        import logging, warnings
        BAD = "bad \udc80 text"
        def test_logs(): logging.getLogger().warning(BAD)
        def test_warns(): warnings.warn(BAD)
        def test_skips(): pytest.skip(BAD)
        def test_fails(): assert 0, BAD
        def test_raises(): raise ValueError(BAD)
        def test_writes(): sys.stdout.buffer.write(b"bad \x80 bytes")
        def test_properties(record_property, record_testsuite_property, record_xml_attribute):
            record_property("name", BAD)
        @pytest.mark.parametrize("value", [BAD])
        def test_parameter(value): pass
        """
    )
    run = stage.run("-rA")
    serial = stage.serial("-rA")
    assert run.counts == serial.counts
    assert run.exit == serial.exit == 1


def test_an_exit_with_a_text_that_is_not_unicode(stage: Stage) -> None:
    stage.write(test_a=r"def test_exits(): pytest.exit('bad \udc80 text', 5)")
    assert stage.run().exit == 5


def test_a_module_whose_name_is_not_unicode(stage: Stage) -> None:
    name = os.fsencode(stage.path) + b"/test_\xff.py"
    Path(os.fsdecode(name)).write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    run = stage.run("-p", "no:cacheprovider")  # pytest cannot write such a name to its cache
    assert (run.exit, run.counts) == (1, {"passed": 1, "failed": 1})


# --- the place ------------------------------------------------------------------------------------


@START
def test_a_checkout_that_cannot_be_written(stage: Stage, start: str) -> None:
    stage.write(test_a="def test_a(tmp_path): (tmp_path / 'file').touch()\ndef test_b(): assert 0")
    (stage.path / ".pytest_cache").mkdir()
    stage.path.chmod(0o555)
    (stage.path / ".pytest_cache").chmod(0o555)
    run = stage.prepare(start).start(powerless=True)
    ended = run.end()
    assert ended.exit == 1
    assert ended.counts["passed"] == ended.counts["failed"] == 1
    assert "could not create cache path" in ended.text


def test_a_cache_that_is_a_file(stage: Stage) -> None:
    stage.write(test_a="def test_a(): pass\ndef test_b(): assert 0")
    (stage.path / ".pytest_cache").write_text("in the way")
    run = stage.run()
    assert run.exit == 1
    assert run.counts["passed"] == run.counts["failed"] == 1


def mounted(run: Running, *lines: str) -> Ended:
    """Run it with mounts of its own."""
    isolate = ["unshare", "--map-root-user", "--mount"]
    trial = ["sh", "-c", f"{' '.join(isolate)} mount -t tmpfs none /tmp"]
    if subprocess.run(trial, check=False).returncode:
        pytest.skip("needs unshare(1), and a kernel and a container that let users mount a tmpfs")
    run.precede_with(" ".join(f"{line};" for line in ("set -e", *lines)))
    run.replace_command(*isolate, *run.command)
    return run.start().end()


@START
def test_no_shared_memory_is_needed(stage: Stage, start: str) -> None:
    """As in a container without ``/dev/shm``."""
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(10))
        def test_a(n, capfd):
            print("printed", n)
            assert n != 7
        def test_ends(): os._exit(3)
        """
    )
    run = stage.prepare(start)
    ended = mounted(run, "mount -t tmpfs -o ro none /dev/shm", "! touch /dev/shm/file 2>/dev/null")
    assert (ended.exit, ended.counts) == (1, {"passed": 9, "failed": 2})
    assert not ended.errors


def test_a_full_disk_under_the_cache_is_as_serial(stage: Stage) -> None:
    stage.write(test_a="def test_a(): note('ran a')\ndef test_b(): assert 0")
    (stage.path / ".pytest_cache").mkdir()
    full = (
        "mount -t tmpfs -o size=64k none .pytest_cache",
        "! cat /dev/zero 2>/dev/null >.pytest_cache/full",
    )
    serial, braid = (mounted(stage.prepare(braid=it), *full) for it in (False, True))
    assert "No space left on device" in braid.text + braid.errors
    assert (braid.exit, braid.ran) == (serial.exit, serial.ran)
    if "No space left on device" in serial.text:  # a warning; before pytest 8.4 it ends the run
        assert braid.counts == serial.counts


@START
def test_two_runs_at_once_in_one_folder(stage: Stage, start: str) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(40))
        def test_a(n, tmp_path, worker_id):
            if n == 0: hold("both")
            (tmp_path / "file").write_text(str(n))
            note("ran", n)
            assert n != 7
        """
    )
    runs = [stage.start(start, gates=("both",)) for _ in range(2)]
    for run in runs:
        run.expect("holding both")
    for run in runs:
        run.release("both")
    for ended in [run.end() for run in runs]:
        assert (ended.exit, ended.counts) == (1, {"passed": 39, "failed": 1})
        assert ended.ran == Counter(map(str, range(40)))


def test_no_run_of_a_test_tidies_what_other_runs_have_left(stage: Stage) -> None:
    """pytest ends with that (before 9.2 behind its last line), and the directory of a whole suite
    takes minutes."""
    others = stage.base / "others"
    root = others / f"pytest-of-{getpass.getuser()}"
    oldest, *_ = kept = [root / f"pytest-{number}" for number in range(4)]
    for path in kept:
        path.mkdir(mode=0o700, parents=True)
    stage.env["TMPDIR"] = str(others)
    stage.write(test_a="def test_a(tmp_path): assert tmp_path.is_dir()")
    ended = stage.prepare(basetemp=False).start().end()
    assert (ended.exit, oldest.exists()) == (0, True)


def test_many_runs_leave_only_three_temporary_directories(stage: Stage) -> None:
    """The controller owns the run's base directory, and pytest keeps the last three."""
    root = stage.base / "root"
    root.mkdir()
    stage.env["PYTEST_DEBUG_TEMPROOT"] = str(root)
    stage.write(test_a="def test_a(tmp_path): (tmp_path / 'file').touch()\ndef test_b(): pass")
    for _ in range(5):
        assert stage.prepare(basetemp=False).start().end().exit == 0
    kept = [path.name for path in root.glob("*/pytest-[0-9]*")]
    assert len(kept) == 3
    shutil.rmtree(root)
