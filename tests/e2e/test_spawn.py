"""``--start-method spawn``: every worker is an interpreter of its own that collects for itself."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from importlib.util import find_spec

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Suite, differences

SPAWN = "--start-method=spawn"

AROUND = """
    @pytest.mark.parametrize("n", range(6))
    def test_before(n): note("ran before", n)
    def test_ends():
        note("ran ends")
        print("last words")
        os._exit(3)
    @pytest.mark.parametrize("n", range(6))
    def test_after(n): note("ran after", n)
"""
EACH_ONCE = Counter({f"{name} {n}": 1 for name in ("before", "after") for n in range(6)})


MODES = ["load", "worksteal", "loadscope", "loadfile", "loadgroup", "each"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["--start-method=fork", SPAWN, "--forked"])
def test_a_crash_costs_one_test_in_every_mode_and_way(stage: Stage, mode: str, way: str) -> None:
    stage.write(test_a=AROUND)
    run = stage.run(way, f"--dist={mode}")
    times = 2 if mode == "each" else 1  # both workers run everything
    assert (run.exit, run.counts) == (1, {"passed": 12 * times, "failed": times})
    once = EACH_ONCE + Counter(["ends"])
    assert run.ran == dict.fromkeys(once, times)
    assert "its process ended with exit code 3" in run.report("test_ends")
    assert "last words" in run.report("test_ends")


OF_ALL_KINDS = """
    import logging, sys, unittest, warnings
    import pytest
    @pytest.fixture(scope="module")
    def shared(tmp_path_factory): return tmp_path_factory.mktemp("shared")
    @pytest.mark.parametrize("name", ["a", "b::c", "\\u00e9", "\\ud800"])
    def test_named(name, shared): assert shared.is_dir()
    def test_fails(): assert [1, 2] == [1, 3]
    def test_prints(): print("out"); print("err", file=sys.stderr); raise ValueError("told")
    def test_logs(): logging.getLogger().warning("told"); assert 0
    def test_skips(): pytest.skip("for a reason")
    @pytest.mark.xfail
    def test_xfails(): assert 0
    def test_warns(): warnings.warn("careful")
    def test_records(record_property): record_property("key", "value")
    class TestCase(unittest.TestCase):
        def test_case(self):
            self.assertEqual(1, 2)
    @pytest.fixture
    def broken(): raise RuntimeError("no fixture")
    def test_error(broken): pass
"""


def test_results_are_those_of_a_serial_run(suite: Suite) -> None:
    suite.write(test_a=OF_ALL_KINDS, test_b=OF_ALL_KINDS, test_c="import missing_module")
    suite.same("--continue-on-collection-errors", "-rA", ours=(SPAWN,))
    suite.same("-rA", ours=(SPAWN,))


@pytest.mark.parametrize(
    "args",
    [
        ("-k", "named"),
        ("-x",),
        ("--maxfail=3",),
        ("--deselect=test_a.py::test_fails",),
        ("-k", "no"),
    ],
)
def test_selections_and_stops_are_those_of_a_serial_run(
    suite: Suite, args: tuple[str, ...]
) -> None:
    suite.write(test_a=OF_ALL_KINDS)
    suite.same(*args, workers=1, ours=(SPAWN,))


def test_the_last_failures_run_again(suite: Suite) -> None:
    suite.write(test_a=OF_ALL_KINDS)
    first = suite.braid(SPAWN)
    again = suite.braid(SPAWN, "--lf")
    failed = {nodeid for nodeid, told in first.outcomes.items() if "failed" in told}
    assert again.outcomes.keys() == failed
    assert differences(suite.serial("--lf"), again) == {}


def test_a_worker_finds_what_the_controller_has(stage: Stage) -> None:
    """Its arguments, its folder, its modules, its variables, its standard input."""
    stage.write(
        conftest="""
        sys.path.insert(0, os.path.abspath("extra"))
        os.environ["OF_CONFTEST"] = "set"
        def pytest_configure(config):
            if not hasattr(config, "workerinput"): os.environ["OF_CONTROLLER"] = "set"
        def pytest_configure_node(node): node.workerinput["port"] = 8000 + int(node.gateway.id[2:])
        """,
        **{
            "extra/there": "",
            "test_a": """
            import subprocess, there
            @pytest.mark.parametrize("n", range(4))
            def test_a(request, worker_id, n):
                config = request.config
                assert config.workerinput["port"] == 8000 + int(worker_id[2:])
                assert "-p" in config.invocation_params.args
                assert "pytest_braid.zygote.spawned" not in config.invocation_params.args
                assert os.getcwd() == str(config.invocation_params.dir)
                assert os.environ["PYTEST_XDIST_WORKER"] == worker_id
                assert os.environ["OF_CONTROLLER"] == os.environ["OF_CONFTEST"] == "set"
                assert "PYTHONHASHSEED" not in os.environ
                assert os.read(0, 1) == b""
                assert sys.argv == config.workerinput["mainargv"]
                assert config.pluginmanager.hasplugin("xdist")
                note("pid", os.getpid(), hash("text"))
            """,
        },
    )
    run = stage.run(SPAWN)
    assert run.exit == 0, run.text
    told = [line.split() for line in run.notes if line.startswith("pid")]
    assert len({pid for _, pid, _ in told}) <= 2
    assert len({hashed for _, _, hashed in told}) == 1


def test_the_interpreter_s_options_are_the_workers_too(suite: Suite) -> None:
    suite.write(
        test_a="""
        import sys, warnings, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_a(n):
            assert sys.flags.dev_mode and sys.flags.optimize == 1
        """
    )
    lines = suite.script("-O", "-X", "dev", "-m", "pytest", "-p", "braid", "-n2", SPAWN)
    assert "4 passed" in lines[-1]


def test_hooks_run_once_in_each_process(stage: Stage) -> None:
    stage.write(
        conftest="""
        import atexit
        from pathlib import Path
        def pytest_configure(config):
            at = getattr(config, "workerinput", {}).get("workerid", "controller")
            for word in ("configure",): note(word, at)
            config.add_cleanup(lambda: note("cleanup", at))
            atexit.register(note, "atexit", at)
            config.at = at
        def pytest_sessionstart(session): note("start", session.config.at)
        def pytest_collection_finish(session): note("collected", session.config.at)
        def pytest_sessionfinish(session): note("finish", session.config.at)
        def pytest_unconfigure(config): note("unconfigure", config.at)
        @pytest.fixture(scope="session", autouse=True)
        def of_session(worker_id):
            note("up", worker_id); yield; note("down", worker_id)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_a(worker_id, n): hold(worker_id) if n < 2 else None
        """,
    )
    run = stage.start(SPAWN, gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    for _ in range(2):
        run.release("gw0")
        run.release("gw1")
    ended = run.end()
    assert ended.exit == 0, ended.text
    words = ("configure", "start", "finish", "unconfigure", "cleanup", "atexit")
    wanted = Counter(f"{word} {at}" for word in words for at in ("controller", "gw0", "gw1"))
    wanted += Counter(
        f"{word} {at}" for word in ("collected", "up", "down") for at in ("gw0", "gw1")
    )
    noted = Counter(line for line in ended.notes if not line.startswith("holding"))
    assert noted == wanted


# --- collections ------------------------------------------------------------------------------


def test_another_order_of_the_same_tests_is_no_difference(stage: Stage) -> None:
    """Sets have another one in each interpreter that hashes otherwise."""
    stage.write(
        conftest="""
        def pytest_collection_modifyitems(items):
            if os.environ.get("PYTEST_XDIST_WORKER") != "gw0": items.reverse()
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(30))
        def test_a(n, request, worker_id):
            assert f"[{n}]" in request.node.nodeid
            note("ran", n)
            if n in (7, 23): os._exit(3)
        def test_fails(): assert 0
        """,
    )
    run = stage.run(SPAWN)
    assert (run.exit, run.counts) == (1, {"passed": 28, "failed": 3})
    assert run.ran == Counter(str(n) for n in range(30))
    for n in (7, 23):
        assert f"crashed while running 'test_a.py::test_a[{n}]'" in run.report(f"test_a[{n}]")


def test_other_tests_are_a_difference_that_is_shown(stage: Stage) -> None:
    stage.write(
        test_a="""
        note("collected")
        @pytest.mark.parametrize("name", ["same", os.environ["PYTEST_XDIST_WORKER"]])
        def test_a(name): note("ran", name)
        """
    )
    run = stage.run(SPAWN)
    assert run.exit == 10
    shown = run.section("braid: different tests were collected")
    assert "--- the run\n+++ gw1\n" in shown
    assert "\n-test_a.py::test_a[gw0]\n" in shown
    assert "\n+test_a.py::test_a[gw1]\n" in shown
    assert "Look for parameters that are random" in shown
    assert "gw1 collected other tests, see above" in run.text


def test_a_long_difference_is_cut(stage: Stage) -> None:
    stage.write(
        test_a="""
        first = int(os.environ["PYTEST_XDIST_WORKER"][2:]) * 100
        @pytest.mark.parametrize("n", range(first, first + 100))
        def test_a(n): pass
        """
    )
    shown = stage.run(SPAWN).section("braid: different tests were collected")
    assert re.search(r"^\.\.\. and \d+ lines more$", shown, re.MULTILINE)
    assert len(shown.splitlines()) < 50


@pytest.mark.parametrize("end", ["os._exit(4)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_an_end_while_the_first_worker_collects_is_told(stage: Stage, end: str) -> None:
    stage.write(
        test_a=f"""
        print("last words", flush=True)
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
            if os.fork() == 0:
                hold("child")  # and holds its end of the socket
                os._exit(0)
            {end}
        def test_a(): pass
        """
    )
    run = stage.prepare(SPAWN)
    run.gate("child")
    run.start()
    assert run.await_end() == pytest.ExitCode.INTERNAL_ERROR
    run.release("child")
    ended = run.end()
    how = "exit code 4" if "exit" in end else "signal 9"
    assert "the process that collects the tests is gone: its process" in ended.text
    assert how in ended.text
    assert "while it collected 'test_a.py'. Run with -n 0 to see more." in ended.text
    assert "last words" in ended.text


def test_an_end_while_another_worker_collects_is_a_crash_of_it(stage: Stage) -> None:
    stage.write(
        test_a="""
        print("last words", flush=True)
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1": os._exit(4)
        @pytest.mark.parametrize("n", range(6))
        def test_a(n): note("ran", n)
        """
    )
    run = stage.run(SPAWN)
    assert run.exit == 1
    assert run.ran == Counter(map(str, range(6)))
    assert run.section("braid: workers that died without a test").startswith(
        "worker 'gw1' crashed before it would take tests (imports, collection): its process ended "
        "with exit code 4\n--- Captured stdout ---\nlast words\n"
    )


@pytest.mark.parametrize("hook", ["configure(config)", "sessionstart(session)"])
@pytest.mark.parametrize("error", ["pytest.UsageError('not so')", "ValueError('not so')"])
def test_errors_before_the_collection_are_those_of_a_serial_run(
    suite: Suite, hook: str, error: str
) -> None:
    suite.conftest(f"import pytest\ndef pytest_{hook}: raise {error}")
    suite.write(test_a="def test_a(): pass")
    serial, braid = suite.serial(), suite.braid(SPAWN)
    assert serial.exit == braid.exit
    assert "not so" in braid.text + braid.errors


def test_no_tests_is_exit_code_5(suite: Suite) -> None:
    suite.write(test_a="")
    suite.same(ours=(SPAWN,))


def test_a_missing_file_is_a_usage_error(suite: Suite) -> None:
    suite.write(test_a="def test_a(): pass")
    run = suite.braid(SPAWN, "missing.py")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: file or directory not found: missing.py" in run.errors


def test_few_tests_need_few_workers_and_all_end(stage: Stage) -> None:
    stage.write(
        conftest="def pytest_testnodedown(node, error): note('down', node.gateway.id, error)",
        test_a="def test_a(): note('ran')",
    )
    run = stage.run(SPAWN, workers=3)
    assert (run.exit, run.counts) == (0, {"passed": 1})
    assert "1 worker [1 item]" in run.text


# --- interrupts -------------------------------------------------------------------------------


def test_ctrl_c_while_workers_collect(stage: Stage) -> None:
    stage.write(
        conftest="def pytest_unconfigure(config): note('unconfigured')",
        test_a="hold(os.environ['PYTEST_XDIST_WORKER'])\ndef test_a(): pass",
    )
    run = stage.start(SPAWN, gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    run.send_to_group(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert Counter(ended.notes)["unconfigured"] == 3


def test_ctrl_c_in_a_test_tears_down(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session", autouse=True)
        def of_session(worker_id):
            yield
            note("down", worker_id)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(2))
        def test_a(worker_id, n): hold(worker_id)
        """,
    )
    run = stage.start(SPAWN, gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    run.send_to_group(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert {"down gw0", "down gw1"} <= {*ended.notes}


@pytest.mark.parametrize("place", ["import", "test"])
def test_no_process_outlives_a_killed_controller(stage: Stage, place: str) -> None:
    holds = "hold(os.environ['PYTEST_XDIST_WORKER'])"
    stage.write(
        test_a=(holds if place == "import" else "")
        + "\n@pytest.mark.parametrize('n', range(2))\ndef test_a(n):\n    "
        + (holds if place == "test" else "pass")
    )
    run = stage.start(SPAWN, gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    run.send(signal.SIGKILL)
    run.await_end()
    run.require_gone()


def test_a_killed_spawner_ends_the_run(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_a(worker_id, n):
            note("parent", os.getppid())
            hold(worker_id)
        """
    )
    run = stage.start(SPAWN, gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    os.kill(int(run.noted("parent")[0]), signal.SIGKILL)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "is gone: its process was killed by signal 9 (SIGKILL" in ended.text


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("forkserver", "workers are forked from a process that has done nothing but collect the"),
        ("quick", "'quick' is not a start method: give 'auto', 'fork' or 'spawn'"),
    ],
)
def test_other_start_methods_are_refused(suite: Suite, value: str, words: str) -> None:
    suite.write(test_a="def test_a(): pass")
    run = suite.braid(f"--start-method={value}")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert words in run.errors


@pytest.mark.parametrize("more", ["--forked", "--max-tests-per-worker=1"])
def test_every_test_has_an_interpreter_of_its_own(stage: Stage, more: str) -> None:
    stage.write(
        conftest="""
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"): note("finish")
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"): note("unconfigured", os.getpid())
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_a(n): note("ran", os.getpid())
        """,
    )
    run = stage.run(SPAWN, more, workers=1)
    assert run.exit == 0, run.text
    assert len(run.ran) == 4
    ended = {line.split()[1] for line in run.notes if line.startswith("unconfigured")}
    assert ended >= {*run.ran}
    assert run.notes.count("finish") == len(ended), "what each has begun, each ends"


@pytest.mark.skipif(find_spec("pytest_cov") is None, reason="pytest-cov is missing")
@pytest.mark.parametrize("way", [(), ("--forked",), ("--max-tests-per-worker=1", "-d")])
def test_coverage_is_that_of_a_serial_run(suite: Suite, way: tuple[str, ...]) -> None:
    """A worker that takes itself for a controller would erase what others have measured."""
    suite.plugins = ("pytest_cov",)
    suite.ini("pythonpath = .")
    suite.write(
        measured="""
        def even(n):
            if n == 0:
                return "none"
            if n == 1:
                return "one"
            return "many"
        def no(): 1
        """,
        test_a="""
        import measured, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_a(n): assert measured.even(n)
        """,
    )
    found = []
    for run in (suite.serial, suite.braid):
        more = (SPAWN, *way) if run == suite.braid else ()
        assert run("--cov=measured", "--cov-branch", "--cov-report=json", *more).exit == 0
        found.append(json.loads((suite.path / "coverage.json").read_text())["files"])
    assert found[0] == found[1]


def test_nothing_of_braid_is_warned_of(suite: Suite) -> None:
    suite.write(test_a="def test_a(): pass\ndef test_b(): pass")
    lines = suite.script("-W", "error", "-m", "pytest", "-p", "braid", "-n2", SPAWN)
    assert "2 passed in" in lines[-1]


# --- what only this process has -----------------------------------------------------------------

OBJECT = """
    import sys, threading, pytest
    class Plugin:
        seen = []
        def pytest_runtest_logreport(self, report): self.seen.append(report.when)
        def pytest_sessionfinish(self): print("seen", len(self.seen))
        MORE
    sys.exit(pytest.main(["-p", "braid", "-n2", *sys.argv[1:]], plugins=["named", Plugin()]))
"""
HOOK = "def pytest_runtest_call(self): pass"
FIXTURE = "own = pytest.fixture(lambda self: 1)"
HOLDS = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"


def with_object(stage: Stage, way: str, more: str, *, holds: bool) -> Ended:
    tests = "def test_a(): pass\ndef test_b(): pass"
    named = "def pytest_collection(): note('named')"
    stage.write(run=OBJECT.replace("MORE", more), test_a=HOLDS * holds + tests, named=named)
    run = stage.prepare(braid=False)
    run.replace_command(sys.executable, "run.py", way)
    return run.start().end()


@pytest.mark.parametrize(("more", "name"), [(HOOK, "pytest_runtest_call"), (FIXTURE, "own")])
@pytest.mark.parametrize("way", [SPAWN, "--start-method=auto"])
def test_a_plugin_that_is_an_object_is_not_dropped(
    stage: Stage, way: str, more: str, name: str
) -> None:
    ended = with_object(stage, way, more, holds=True)
    assert ended.exit == pytest.ExitCode.USAGE_ERROR
    assert "braid cannot spawn workers: pytest.main(plugins=[...]) was given <" in ended.errors
    assert f"and tests need its {name}. Give the name of a module that is" in ended.errors
    is_asked = way == SPAWN
    assert ("let workers be forked (--start-method fork)" in ended.errors) == is_asked
    assert ("keeps workers from being forked:\n  - " in ended.errors) != is_asked


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("way", [SPAWN, "--start-method=auto"])
def test_an_object_that_only_hears_of_the_run_hears_of_it(
    stage: Stage, way: str, holds: bool
) -> None:
    ended = with_object(stage, way, "", holds=holds)
    assert (ended.exit, ended.counts) == (0, {"passed": 2})
    assert "seen 6" in ended.text
    processes = 1 if way != SPAWN and not holds else 2 + (way != SPAWN)
    assert len(ended.notes) == processes  # what was given by its name is in all that collect


def test_an_object_is_in_workers_that_are_forked(stage: Stage) -> None:
    called = "def pytest_runtest_call(self): raise ValueError('told')"
    ended = with_object(stage, "--start-method=auto", called, holds=False)
    assert ended.counts == {"failed": 2}
    assert "ValueError: told" in ended.text


@pytest.mark.parametrize("name", ["json", "platform", "select", "subprocess", "socket"])
def test_a_module_of_the_project_may_have_the_name_of_the_interpreter_s(
    stage: Stage, name: str
) -> None:
    stage.write(
        **{
            f"tests/{name}": "raise ImportError('of the project')",
            name: "raise ImportError('of the project')",
            "tests/conftest": "",
            "tests/test_a": "def test_a(): note('ran a')",
        }
    )
    run = stage.prepare(SPAWN)
    run.replace_command(
        sys.executable,
        "-c",
        "import sys; del sys.path[0]; import pytest; sys.exit(pytest.main())",
        *run.args,
    )
    ended = run.start().end()
    assert (ended.exit, ended.ran) == (0, {"a": 1}), ended.text + ended.errors


# --- workers that do not agree --------------------------------------------------------------------


def test_a_module_that_one_worker_cannot_import_is_told(stage: Stage) -> None:
    stage.write(
        test_a="@pytest.mark.parametrize('n', range(4))\ndef test_a(n): note('ran', n)",
        test_b="if os.environ['PYTEST_XDIST_WORKER'] == 'gw1': raise ValueError('not here')",
    )
    run = stage.run(SPAWN, "--continue-on-collection-errors")
    assert run.exit == 1
    told = run.section("braid: workers that died without a test")
    assert "worker 'gw1' could not collect 'test_b.py', which the first could:" in told
    assert "ValueError: not here" in told


def test_what_an_early_death_has_printed_is_told(stage: Stage) -> None:
    stage.write(
        conftest="if os.environ.get('PYTEST_XDIST_WORKER') == 'gw1': raise ValueError('not here')",
        test_a="@pytest.mark.parametrize('n', range(4))\ndef test_a(n): note('ran', n)",
    )
    run = stage.run(SPAWN)
    assert run.exit == 1
    assert run.ran == Counter("0123")
    told = run.section("braid: workers that died without a test")
    assert "worker 'gw1' crashed before it would take tests (imports, collection)" in told
    assert "ValueError: not here" in told


def test_each_node_goes_down_once_with_its_own_output(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_testnodedown(node, error):
            note("down", node.gateway.id, node.workeroutput.get("name"), error)
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                session.config.workeroutput["name"] = session.config.workerinput["workerid"]
        def pytest_collection(session):
            if hasattr(session.config, "workerinput"):
                note("collects", session.config.workerinput["workerid"])
        """,
        test_a="""
        hold("failure" if os.environ["PYTEST_XDIST_WORKER"] == "gw0" else "never")
        raise ValueError
        """,
    )
    going_on = stage.start(SPAWN, workers=3, gates=("failure", "never"))
    going_on.expect(*(f"collects gw{n}" for n in range(3)))  # whose session has not begun has none
    going_on.release("failure")
    run = going_on.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    down = sorted(line for line in run.notes if line.startswith("down"))
    assert down == [f"down gw{n} gw{n} None" for n in range(3)]


def test_who_gets_no_test_is_not_waited_for(stage: Stage) -> None:
    """It may have long to collect."""
    stage.write(
        test_a="""
        if os.environ["PYTEST_XDIST_WORKER"] == "gw1": hold("collection")
        def test_a(): note("ran a")
        """
    )
    run = stage.start(SPAWN, gates=("collection",))
    assert run.end().exit == 0


def test_a_zygote_that_fails_at_its_end_ends_the_run(stage: Stage) -> None:
    stage.write(
        conftest="""
        import threading
        def pytest_collection_finish():
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"): raise ValueError("no end")
        """,
        test_a="def test_a(): note('ran a')",
    )
    run = stage.run()
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "failed in pytest_unconfigure or at exit" in run.text
    assert "ValueError: no end" in run.text
    assert not run.ran


def test_ctrl_c_while_one_collects_is_no_difference_of_collections(stage: Stage) -> None:
    stage.write(
        test_a="""
        if os.environ["PYTEST_XDIST_WORKER"] == "gw1":
            note("collecting"); hold("collection")
        def test_a(): note("ran a"); hold("never")
        def test_b(): hold("never")
        """
    )
    run = stage.start(SPAWN, gates=("collection", "never"))
    run.expect("collecting", "ran a")
    run.send_to_group(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "different tests were collected" not in ended.text
