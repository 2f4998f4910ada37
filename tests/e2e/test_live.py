"""Output that is not captured, and the live log: at once, in whole lines, named, never lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Running, Stage

WAYS = {
    "print": "print('said')",
    "descriptor": "os.write(1, b'said\\n')",
    "stderr": "print('said', file=sys.stderr)",
    "second descriptor": "os.write(2, b'said\\n')",
    "child": "import subprocess; subprocess.run(['echo', 'said'])",
    "copy": "os.fork() or (print('said'), sys.stdout.flush(), os._exit(0)); os.wait()",
    "handler": "import logging; logging.StreamHandler().emit(logging.makeLogRecord(SAID))",
}


@pytest.fixture(autouse=True)
def buffering(stage: Stage, request: pytest.FixtureRequest) -> None:
    """As Python does it by itself, or, as container images often want it, not at all."""
    stage.env["PYTHONUNBUFFERED"] = getattr(request, "param", "")


@pytest.fixture
def strays() -> Iterator[list[Running]]:
    """Runs whose tests have left children behind; they are killed."""
    runs: list[Running] = []
    yield runs
    for running in runs:
        for pid in map(int, running.noted("child")):
            with contextlib.suppress(
                ProcessLookupError
            ):  # it printed, and nobody was there to read
                os.killpg(pid, signal.SIGKILL)


both = pytest.mark.parametrize("buffering", ["", "1"], indirect=True, ids=["", "unbuffered"])


ways_to_start = pytest.mark.parametrize(
    "start", ["--start-method=fork", "--start-method=spawn"], ids=["fork", "spawn"]
)


def piped(stage: Stage, *args: str, gates: tuple[str, ...] = (), workers: int = 2) -> Running:
    running = stage.prepare(*args, workers=workers)
    running.gate(*gates)
    return running.start(piped=True)


def raw(running: Running, name: str = "out") -> bytes:
    return (running.folder / name).read_bytes()


@ways_to_start
@pytest.mark.parametrize("how", WAYS)
def test_what_a_test_prints_is_there_before_it_ends(stage: Stage, how: str, start: str) -> None:
    stage.write(
        test_a=f"""
        SAID = {{"msg": "said"}}
        def test_1():
            {WAYS[how]}
            hold("a")
        def test_2(): hold("b")
        """
    )
    running = piped(stage, "-s", start, gates=("a", "b"))
    running.expect("holding a", "holding b")
    is_error = how in {"stderr", "second descriptor", "handler"}
    running.await_text("said\n", "err" if is_error else "out")
    running.release("a")
    running.release("b")
    run = running.end()
    assert run.counts == {"passed": 2}
    assert (run.text + run.errors).count("said") == 1
    assert ("said" in run.errors) == is_error


@both
def test_halves_of_lines_of_two_workers_do_not_meet(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("name", "ab")
        def test_1(name):
            for n in range(3):
                print(name * 3, end="", flush=True)
                hold(name)
                print(name * 3)
                hold(name)
        """
    )
    running = piped(stage, "-s", gates=("a", "b"))
    for _ in range(6):
        running.expect("holding a", "holding b")
        running.release("a")
        running.release("b")
    run = running.end()
    assert run.counts == {"passed": 2}
    printed = [line for line in run.text.splitlines() if re.match("(aaa|bbb)", line)]
    assert set(map(len, printed)) <= {3, 6}
    assert not [line for line in printed if "ab" in line or "ba" in line]
    assert sum(map(len, printed)) == 2 * 3 * 6


def test_a_line_names_the_worker_and_the_test(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1():
            print("one"); hold("a"); print("three")
        def test_2():
            hold("b"); print("two"); hold("c")
        """
    )
    running = piped(stage, "-s", gates=("a", "b", "c"))
    running.expect("holding a", "holding b")
    running.await_text("one\n")
    running.release("b")
    running.await_text("two\n")
    running.release("a")
    running.await_text("three\n")
    running.expect("holding c")
    running.release("c")
    text = running.end().text
    one, two = ("gw0", "gw1") if "[gw0] test_a.py::test_1" in text else ("gw1", "gw0")
    assert (
        f"[{one}] test_a.py::test_1\none\n[{two}] test_a.py::test_2\ntwo\n"
        f"[{one}] test_a.py::test_1\nthree\n"
    ) in text


@pytest.mark.parametrize("workers", [1, 2])
def test_a_prompt_is_shown_though_its_line_has_no_end(stage: Stage, workers: int) -> None:
    stage.write(
        test_a="""
        def test_1(): print("name? ", end="", flush=True); hold("a")
        def test_2(): pass
        """
    )
    running = piped(stage, "-s", gates=("a",), workers=workers)
    running.await_text("name? ")
    running.expect("holding a")
    running.release("a")
    assert re.search(r"^name\? $", running.end().text, re.MULTILINE)


def test_what_is_printed_at_import_is_shown_before_the_collection_is_over(stage: Stage) -> None:
    stage.write(test_a="print('imported'); hold('a')\ndef test_1(): pass")
    running = piped(stage, "-s", gates=("a",))
    running.expect("holding a")
    running.await_text("imported\n")
    running.release("a")
    assert running.end().text.count("imported") == 1


def test_many_spawned_workers_print_much_while_they_collect(stage: Stage) -> None:
    """More than a pipe holds. There is no test for most of them: who has not collected when the
    only one ends is not waited for."""
    stage.write(
        test_a="""
        print("imported")
        print("x" * 1_000_000)
        note("printed")
        def test_1(): hold("others"); print("ran")
        """
    )
    running = stage.start("-s", "--start-method=spawn", gates=("others",), workers=3)
    running.expect("holding others", *["printed"] * 3)
    running.release("others")
    run = running.end()
    assert run.counts == {"passed": 1}
    assert run.text.splitlines().count("imported") == 3
    assert run.text.splitlines().count("ran") == 1
    assert sum(map(len, re.findall("x{2,}", run.text))) == 3_000_000


@both
def test_results_stand_behind_the_output_of_their_test(stage: Stage) -> None:
    """However many tests run in the time of one look of the controller."""
    stage.write(
        test_a="""
        @pytest.fixture
        def around():
            print("setup")
            yield
            print("teardown")
        @pytest.mark.parametrize("n", range(300))
        def test_1(n, around): print(n)
        """
    )
    text = stage.run("-s", workers=1).text
    expected = "".join(f"setup\n{n}\nteardown\n.\n" for n in range(300))
    assert _as_phases(expected) in _as_phases(text)


def _as_phases(text: str) -> str:
    """A result may come before the teardown's output or behind it."""
    return text.replace("teardown\n.\n", ".\nteardown\n")


def test_other_log_files_are_opened_as_the_project_wants(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(autouse=True)
        def log(request):
            plugin = request.config.pluginmanager.get_plugin("logging-plugin")
            plugin.set_log_path(f"{request.node.name}.log")
        """,
        test_a="import logging\ndef test_1(): logging.warning('new')\ndef test_2(): pass",
    )
    log = stage.path / "test_1.log"
    log.write_text("old\n")
    stage.run("--log-file=run.log")
    assert "new" in log.read_text()
    assert "old" not in log.read_text()


@both
def test_one_worker_prints_what_a_serial_run_prints(stage: Stage) -> None:
    stage.write(
        test_a="""
        import subprocess
        print("imported")
        @pytest.fixture(scope="session", autouse=True)
        def around():
            print("begin"); yield; print("end")
        @pytest.fixture
        def half(): print("half of ", end="")
        def test_1(half): print("a line\\nand another")
        def test_2(): subprocess.run(["sh", "-c", "echo child; echo more"])
        def test_3(): print("failing"); assert 0
        def test_4(): pass
        """
    )
    serial, braid = stage.serial("-s", "--tb=no"), stage.run("-s", "--tb=no", workers=1)
    assert _printed(serial.text) == _printed(braid.text)
    assert "[gw0]" not in braid.text
    assert serial.errors == braid.errors


_PYTESTS = "[=0-9]|platform|root|plug|coll|created: "


def _printed(text: str) -> list[str]:
    """The lines of tests: without pytest's, and without results and names of files before them."""
    lines = [re.sub(r"^(test_a\.py )?[.F]*", "", line) for line in text.splitlines()]
    return [line for line in lines if line and not re.match(_PYTESTS, line)]


def test_stdout_and_stderr_stay_apart(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(40))
        def test_1(n):
            print("out", n); print("err", n, file=sys.stderr)
        """
    )
    run = piped(stage, "-s").end()
    for n in range(40):
        assert f"out {n}" in run.text.splitlines()
        assert f"err {n}" in run.errors.splitlines()
    assert "err 1" not in run.text
    assert "out 1" not in run.errors


def test_on_a_terminal_both_streams_take_turns_in_whole_lines(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(40))
        def test_1(n):
            for stream in (sys.stdout, sys.stderr):
                print("half and ", end="", file=stream, flush=True)
            for stream in (sys.stdout, sys.stderr):
                print("half", n, file=stream)
        """
    )
    run = stage.prepare("-s").start(terminal=True).end()
    assert run.exit == 0
    for n in range(40):
        assert run.text.splitlines().count(f"half and half {n}") == 2


def test_bytes_that_are_no_text_come_unchanged(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1():
            os.write(1, b"\\xff\\xfe \\x00 \\x1b[31m\\r\\x80\\n")
            sys.stdout.buffer.write(b"buffered \\xc3\\n")
        def test_2(): pass
        """
    )
    running = stage.start("-s")
    running.end()
    assert b"\n\xff\xfe \x00 \x1b[31m\r\x80\n" in raw(running)
    assert b"\nbuffered \xc3\n" in raw(running)


@pytest.mark.parametrize("workers", [1, 2])
def test_ten_megabytes_without_an_end_of_line_arrive(stage: Stage, workers: int) -> None:
    stage.write(
        test_a="""
        def test_1(): os.write(1, b"y" * 5_000_000); sys.stdout.write("y" * 5_000_000)
        def test_2(): print("z" * 500_000)
        """
    )
    run = stage.run("-s", workers=workers)
    assert run.counts == {"passed": 2}
    assert sum(map(len, re.findall("y{2,}", run.text))) == 10_000_000
    assert "z" * 500_000 in run.text.splitlines()


def test_what_a_test_prints_does_not_stand_behind_the_result_of_another(stage: Stage) -> None:
    stage.write(
        conftest="""
        import threading
        both, is_shown = threading.Barrier(2), threading.Event()
        @pytest.hookimpl(trylast=True)
        def pytest_runtest_logreport(report):
            if report.when == "call" and report.nodeid.endswith("test_0"):
                is_shown.set()
        """,
        test_a="""
        from conftest import both, is_shown
        def test_0(): both.wait(30)
        def test_1(): both.wait(30); assert is_shown.wait(30); print("of 1"); print("and more")
        """,
    )
    run = stage.run("-s", "-v", "-n0", "--threads=2", workers=None)
    assert run.counts == {"passed": 2}
    assert re.search(r"^test_a.py::test_0 .*PASSED.*\nof 1\nand more\n", run.text, re.MULTILINE)


@pytest.mark.parametrize(
    "options", ["-n2", "-n2 --start-method=spawn", "-n1 --threads=2", "-n0 --threads=2"]
)
def test_without_pytests_capture_all_output_is_shown_at_once(stage: Stage, options: str) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_n(n): print("of", n); assert n < 2
        """
    )
    run = stage.run("-p", "no:capture", "-v", *options.split(), workers=None)
    assert run.counts == {"passed": 2, "failed": 1}
    assert all(re.search(rf"(^| )of {n}$", run.text, re.MULTILINE) for n in range(3)), run.text
    assert "Captured" not in run.text


@pytest.mark.parametrize("option", ["-s", "--capture=tee-sys"])
def test_the_last_output_of_a_killed_worker_is_shown(
    stage: Stage, option: str, strays: list[Running]
) -> None:
    """Though somebody could still print more."""
    stage.write(
        test_a="""
        import subprocess
        def test_1():
            child = subprocess.Popen(["sleep", "1000"], env={}, start_new_session=True)
            note("child", child.pid)
            print("last words")
            os.write(1, b"half a li")
            os.kill(os.getpid(), signal.SIGKILL)
        def test_2(): print("somebody else")
        def test_3(): print("and another")
        """
    )
    strays.append(stage.start(option, workers=1))
    run = strays[0].end()
    assert run.counts == {"passed": 2, "failed": 1}
    assert "SIGKILL" in run.report("test_1")
    lines = run.text.splitlines()
    assert "last words\nhalf a li\nF" in run.text
    assert "somebody else" in lines
    assert "and another" in lines


def test_successors_of_crashed_workers_print_too(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(8))
        def test_1(n):
            print(f"n is {n}")
            if n % 2: os._exit(3)
        """
    )
    run = stage.run("-s", "--max-worker-restart=8", "--tb=no", workers=1)
    assert run.counts == {"passed": 4, "failed": 4}
    assert [line for line in run.text.splitlines() if line.startswith("n is")] == [
        f"n is {n}" for n in range(8)
    ]


@pytest.mark.parametrize("option", ["--forked", "--max-tests-per-worker=3"])
def test_workers_that_are_replaced_print_everything(stage: Stage, option: str) -> None:
    stage.write(
        test_a="""
        import atexit
        @pytest.mark.parametrize("n", range(10))
        def test_1(n):
            print(f"n is {n}")
            atexit.register(os.write, 1, f"exit of {n}\\n".encode())
        """
    )
    run = stage.run("-s", option)
    assert run.counts == {"passed": 10}
    for n in range(10):
        assert run.text.splitlines().count(f"n is {n}") == 1
        assert run.text.splitlines().count(f"exit of {n}") == 1


def test_a_worker_may_print_much_when_all_is_over(stage: Stage) -> None:
    """More than a pipe holds, while the controller waits for its end."""
    stage.write(
        conftest="""
        import atexit
        def pytest_sessionfinish(session):
            if "workerid" in getattr(session.config, "workerinput", {}):
                atexit.register(os.write, 1, b"x" * 1_000_000 + b"\\n")
        """,
        test_a="def test_1(): pass\ndef test_2(): pass",
    )
    run = stage.run("-s")
    assert run.exit == 0
    assert sum(map(len, re.findall("x{2,}", run.text))) == 2_000_000


@pytest.mark.parametrize("command", ["sleep 1000", "while :; do echo on and on; done"])
def test_who_holds_the_output_open_does_not_keep_the_run_from_ending(
    stage: Stage, command: str, strays: list[Running]
) -> None:
    stage.write(
        test_a=f"""
        import subprocess
        def test_1():
            child = subprocess.Popen(["sh", "-c", {command!r}], env={{}}, start_new_session=True)
            note("child", child.pid)
        def test_2(): print("said")
        """
    )
    strays.append(stage.start("-s"))
    run = strays[0].end()
    assert run.counts == {"passed": 2}
    assert "said" in run.text.splitlines()


@pytest.mark.parametrize("name", ["out", "err"])
def test_a_reader_that_has_enough_ends_the_run_without_a_storm(stage: Stage, name: str) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(30))
        def test_1(n):
            print("line", n); print("line", n, file=sys.stderr)
            if n < 2: hold("a")
        """
    )
    running = piped(stage, "-s", gates=("a",))
    running.await_text("line 0\n", name)
    running.stop_reading(name)
    for _ in range(2):
        running.release("a")
    run = running.end()
    assert (run.text + run.errors).count("Traceback") <= 1
    if name == "err":
        assert run.counts == {"passed": 30}


def test_a_stream_that_a_test_closes_is_the_matter_of_its_worker(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1(): os.closerange(0, 4096); os.write(1, b"lost")
        def test_2(): print("kept")
        def test_3(): print("kept too")
        """
    )
    run = stage.run("-s", "--tb=no", "--forked")
    assert run.counts == {"passed": 2, "failed": 1}
    assert "kept" in run.text.splitlines()
    assert "kept too" in run.text.splitlines()


def test_tee_sys_shows_at_once_and_captures(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1():
            print("to be seen"); print("to be heard", file=sys.stderr)
            hold("a")
            assert 0
        def test_2(): pass
        """
    )
    running = piped(stage, "--capture=tee-sys", gates=("a",))
    running.expect("holding a")
    running.await_text("to be seen\n")
    running.await_text("to be heard\n", "err")
    running.release("a")
    run = running.end()
    report = run.report("test_1")
    assert "- Captured stdout call -" in report
    assert "\nto be seen\n" in report
    assert "\nto be heard\n" in report
    assert run.text.splitlines().count("to be seen") == 2
    assert run.errors.count("to be heard") == 1


LOGGING = """
import logging
log = logging.getLogger()
def test_1(): log.info("first"); print("printed"); hold("a"); log.info("second")
def test_2(): log.debug("too low"); hold("b")
"""


@ways_to_start
@pytest.mark.parametrize("options", [[], ["-s"], ["--capture=sys"], ["--capture=tee-sys"]], ids=str)
def test_what_a_test_logs_is_there_before_it_ends(
    stage: Stage, options: list[str], start: str
) -> None:
    stage.write(test_a=LOGGING)
    running = piped(stage, "--log-cli-level=INFO", start, *options, gates=("a", "b"))
    running.expect("holding a", "holding b")
    running.await_text(" first\n")
    running.release("a")
    running.await_text(" second\n")
    running.release("b")
    run = running.end()
    assert run.counts == {"passed": 2}
    assert re.search(
        r"^\[gw\d\] test_a\.py::test_1\n"
        r"(printed\n)?-+ live log call -+\nINFO +root:test_a\.py:\d+ first\n",
        run.text,
        re.MULTILINE,
    )
    assert run.text.count("live log call") == 1
    assert "too low" not in run.text
    assert ("printed" in run.text) == (options in (["-s"], ["--capture=tee-sys"]))


def test_each_phase_of_the_live_log_has_its_title_as_in_a_serial_run(stage: Stage) -> None:
    stage.write(
        conftest="""
        import logging
        def pytest_sessionfinish(session): logging.info("finish")
        def pytest_collection_finish(session): logging.info("collected")
        """,
        test_a="""
        import logging
        logging.info("imported")
        @pytest.fixture
        def around():
            logging.info("before")
            yield
            logging.info("after")
        def test_1(around): logging.info("a " * 5000); logging.info("two\\nlines")
        """,
    )
    (stage.path / "pytest.ini").write_text(
        "[pytest]\nlog_cli = true\nlog_cli_level = INFO\nlog_cli_format = L %(message)s\n"
    )
    serial, braid = stage.serial("-p", "no:cacheprovider"), stage.run(workers=1)
    expected, found = (
        [line for line in run.text.splitlines() if re.match("L |lines|-+ live log", line)]
        for run in (serial, braid)
    )
    assert found[: len(expected) - 2] == expected[:-2]
    assert found[-2:] == expected[-2:]


def test_the_live_log_of_threads_is_whole(stage: Stage) -> None:
    stage.write(
        test_a="""
        import logging, threading
        @pytest.mark.parametrize("name", "ab")
        def test_1(name):
            def work(n):
                for i in range(50): logging.info("%s", f"{name}{n}" * 3000)
            threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """
    )
    run = stage.run("--log-cli-level=INFO", "--log-cli-format=L %(message)s")
    lines = [line[2:] for line in run.text.splitlines() if line.startswith("L ")]
    assert sorted(lines) == sorted(
        f"{name}{n}" * 3000 for name in "ab" for n in range(3) for _ in range(50)
    )


def test_the_live_log_has_the_colours_and_the_width_of_the_terminal(stage: Stage) -> None:
    stage.write(test_a="import logging\ndef test_1(): logging.info('said')\ndef test_2(): pass")
    running = stage.prepare("--log-cli-level=INFO").start(terminal=True)
    running.end()
    assert b"\x1b[32mINFO    \x1b[0m root:test_a.py:4 said\n" in raw(running)


WRITING = """
import logging, threading
@pytest.mark.parametrize("n", range(60))
def test_1(n): logging.info("record %d %s", n, "x" * (n % 3 * 10_000))
"""


def records(file: Path) -> list[str]:
    return sorted(line for line in file.read_text().splitlines() if "record" in line)


@ways_to_start
def test_the_log_file_of_many_workers_has_whole_lines(stage: Stage, start: str) -> None:
    stage.write(
        conftest="""
        import logging
        def pytest_runtest_logreport(report):
            if hasattr(report, "node"): logging.info("heard in the controller")
        """,
        test_a=WRITING,
    )
    log = stage.path / "logs" / "run.log"
    options = ("--log-file-level=INFO", "--log-file-format=%(message)s")
    run = stage.run(start, f"--log-file={log}", *options)
    assert run.counts == {"passed": 60}
    assert records(log) == sorted(f"record {n} {'x' * (n % 3 * 10_000)}" for n in range(60))
    assert log.read_text().splitlines().count("heard in the controller") == 180
    assert b"\0" not in log.read_bytes()


@ways_to_start
@pytest.mark.parametrize(("mode", "is_kept"), [("w", False), ("a", True)])
def test_the_log_file_is_emptied_or_continued_as_asked(
    stage: Stage, mode: str, is_kept: bool, start: str
) -> None:
    stage.write(test_a=WRITING)
    log = stage.path / "run.log"
    log.write_text("an earlier run\n")
    stage.run(
        f"--log-file={log}",
        f"--log-file-mode={mode}",
        "--log-file-level=INFO",
        "--max-tests-per-worker=20",
        start,
    )
    assert ("an earlier run" in log.read_text()) == is_kept
    assert len(records(log)) == 60
