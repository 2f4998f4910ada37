"""A test can end its process in any way and at any time: it fails, all others run once."""

from __future__ import annotations

import re
import signal
import sys
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from tests.e2e.running import UP_AND_DOWN, Ended, Stage

ENDS = {
    "exit_0": ("os._exit(0)", "its process ended with exit code 0"),
    "exit_3": ("os._exit(3)", "its process ended with exit code 3"),
    "segv": ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11 (SIGSEGV)"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9 (SIGKILL"),
    "term": ("os.kill(os.getpid(), signal.SIGTERM)", "killed by signal 15 (SIGTERM)"),
    "abort": ("os.abort()", "killed by signal 6 (SIGABRT)"),
}

AROUND = """
    @pytest.mark.parametrize("n", range(6))
    def test_before(n): note("ran before", n)

    {}

    @pytest.mark.parametrize("n", range(6))
    def test_after(n): note("ran after", n)
"""

OTHERS = Counter({f"{name} {n}": 1 for name in ("before", "after") for n in range(6)})


def around(test: str) -> str:
    """A module with six tests before and six after ``test``."""
    return AROUND.format("\n    ".join(test.strip().splitlines()))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", ENDS)
def test_a_test_that_ends_its_process_fails_alone(stage: Stage, end: str, workers: int) -> None:
    how, words = ENDS[end]
    stage.write(test_a=around(f"def test_ends():\n    note('ran it'); {how}"))
    run = stage.run(workers=workers)
    assert (run.exit, run.counts) == (1, {"passed": 12, "failed": 1})
    assert run.ran == OTHERS + Counter({"it": 1})
    assert words in run.report("test_ends")
    assert "crashed while running 'test_a.py::test_ends'" in run.report("test_ends")


@pytest.mark.parametrize("capture", ["--capture=fd", "--capture=sys"])
def test_the_last_output_is_in_the_report(stage: Stage, capture: str) -> None:
    stage.write(
        test_a=around("""
def test_ends():
    print("last words"); print("last errors", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    )
    run = stage.run(capture)
    report = run.report("test_ends")
    assert "Captured stdout" in report
    assert "\nlast words\n" in report
    assert "Captured stderr" in report
    assert "\nlast errors\n" in report
    assert run.counts == {"passed": 12, "failed": 1}


@pytest.mark.parametrize("capture", ["--capture=fd", "--capture=sys", "-s"])
def test_the_stacks_of_a_fatal_error_are_in_the_report(stage: Stage, capture: str) -> None:
    stage.write(
        test_a=around("""
def deep(n):
    if n: deep(n - 1)
    os.kill(os.getpid(), signal.SIGSEGV)
def test_ends():
    print("last words")
    deep(60)
""")
    )
    run = stage.run(capture)
    report = run.report("test_ends")
    assert "Fatal Python error: Segmentation fault" in report
    assert "in deep\n" in report
    assert "in test_ends\n" in report
    assert "last words" in (run.text if capture == "-s" else report)
    assert "Segmentation fault" not in run.errors


PLACES = {
    "setup": """
@pytest.fixture
def ends(): END
def test_ends(ends): pass
""",
    "teardown": """
@pytest.fixture
def ends():
    yield
    END
def test_ends(ends): note("ran it")
""",
    "module fixture's setup": """
@pytest.fixture(scope="module")
def ends(): END
def test_ends(ends): pass
""",
    "class fixture's setup": """
@pytest.fixture(scope="class")
def ends(): END
class TestIt:
    def test_ends(self, ends): pass
""",
    "class fixture's teardown": """
@pytest.fixture(scope="class")
def ends():
    yield
    END
class TestIt:
    def test_ends(self, ends): note("ran it")
""",
}


FORK, SPAWN = "--start-method=fork", "--start-method=spawn"


@pytest.mark.parametrize(("start", "end"), [(FORK, "exit_0"), (FORK, "segv"), (SPAWN, "kill")])
@pytest.mark.parametrize("place", PLACES)
def test_a_fixture_that_ends_the_process_fails_its_test_alone(
    stage: Stage, place: str, start: str, end: str
) -> None:
    how, words = ENDS[end]
    stage.write(test_a=around(PLACES[place].replace("END", how)))
    run = stage.run(start)
    passed = "teardown" in place  # and that is told, too
    assert (run.exit, run.counts) == (1, {"passed": 12 + passed, "failed": 1})
    assert run.ran == OTHERS + Counter({"it": 1} if passed else {})
    assert f"{words}" in run.text


def test_a_module_fixture_that_ends_the_process_when_torn_down(stage: Stage) -> None:
    """The last test of the module in that worker is to blame, as it is for any error there."""
    stage.write(
        test_a="""
        @pytest.fixture(scope="module", autouse=True)
        def ends():
            yield
            if os.environ["PYTEST_XDIST_WORKER"] == "gw0": os._exit(3)
        @pytest.mark.parametrize("n", range(6))
        def test_a(n): note("ran a", n)
        """,
        test_b="""
        @pytest.mark.parametrize("n", range(6))
        def test_b(n): note("ran b", n)
        """,
    )
    run = stage.run(workers=1)
    assert run.exit == 1
    assert run.ran == Counter({f"{name} {n}": 1 for name in "ab" for n in range(6)})
    assert run.counts == {"passed": 12, "failed": 1}
    assert "crashed while running 'test_a.py::test_a[5]'" in run.text


@pytest.mark.parametrize(
    ("start", "end"), [(FORK, "exit_0"), (FORK, "exit_3"), (FORK, "segv"), (SPAWN, "exit_0")]
)
def test_a_session_fixture_that_ends_the_process_when_torn_down(
    stage: Stage, start: str, end: str
) -> None:
    """In the worker that comes first to it: another may have run no test, and so have none."""
    how, words = ENDS[end]
    stage.write(
        conftest=f"""
        @pytest.fixture(scope="session", autouse=True)
        def ends():
            yield
            print("last words")
            try: os.mkdir("ended")
            except FileExistsError: return
            {how}
        """,
        test_a=around(""),
    )
    run = stage.run(start)
    assert run.exit == 1
    assert run.ran == OTHERS
    assert words in run.text
    assert re.search("'gw[01]' crashed", run.text)
    assert "last words" in run.text


@pytest.mark.parametrize(("start", "end"), [(FORK, "exit_0"), (FORK, "segv"), (SPAWN, "exit_0")])
def test_a_worker_that_ends_in_sessionfinish_is_an_error(
    stage: Stage, start: str, end: str
) -> None:
    how, words = ENDS[end]
    stage.write(
        conftest=f"""
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0": {how}
        """,
        test_a=around(""),
    )
    run = stage.run(start)
    assert run.exit == 1
    assert run.ran == OTHERS
    assert words in run.text
    assert "'gw0' crashed while it ended its session" in run.text


def test_a_worker_without_a_test_that_ends_in_sessionfinish_is_an_error(stage: Stage) -> None:
    """The second worker is born only when a failure has stopped the run."""
    stage.write(
        conftest="""
        forks = []
        def before(): forks.append(os.getpid())
        def after():
            if len(forks) == 2: hold("birth")
        def pytest_collection_finish(session):
            os.register_at_fork(before=before, after_in_child=after)
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw1": os._exit(3)
        def pytest_runtest_logfinish(nodeid):
            if "PYTEST_XDIST_WORKER" not in os.environ: note("finished", nodeid)
        """,
        test_a="""
        def test_1(): assert not "enough"
        def test_2(): note("ran 2")
        """,
    )
    run = stage.start("-x", gates=("birth",))
    run.expect("holding birth", "finished test_a.py::test_1")
    run.release("birth")
    ended = run.end()
    assert (ended.exit, ended.counts) == (1, {"failed": 1})
    assert not ended.ran
    assert ended.section("braid: workers that died without a test") == (
        "worker 'gw1' crashed while it ended its session (fixtures of session scope, "
        "pytest_sessionfinish): its process ended with exit code 3\n"
    )
    assert "braid: a worker died that had run no test, see above" in ended.text


def test_the_others_of_a_crashed_module_and_class_run_once(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture(scope="module", autouse=True)
        def of_module():
            note("up"); yield; note("down")
        @pytest.fixture(scope="class", autouse=True)
        def of_class(): yield
        class TestIt:
            def test_1(self): note("ran 1")
            def test_2(self): note("ran 2"); os._exit(1)
            def test_3(self): note("ran 3")
        def test_4(): note("ran 4")
        """
    )
    run = stage.run(workers=1)
    assert run.counts == {"passed": 3, "failed": 1}
    assert run.ran == Counter("1234")
    assert [line for line in run.notes if "ran" not in line] == ["up", "up", "down"]


def test_every_third_test_crashes(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(30))
        def test_a(n):
            note("ran", n)
            if n % 3 == 0: os.kill(os.getpid(), signal.SIGKILL if n % 2 else signal.SIGSEGV)
        """
    )
    run = stage.run("--max-worker-restart=100")
    assert (run.exit, run.counts) == (1, {"passed": 20, "failed": 10})
    assert run.ran == Counter(map(str, range(30)))


def test_all_tests_crash(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(7))
        def test_a(n):
            note("ran", n)
            os._exit(n)
        """
    )
    run = stage.run()
    assert (run.exit, run.counts) == (1, {"failed": 7})
    assert run.ran == Counter(map(str, range(7)))


def test_crashers_of_one_moment_leave_no_process(stage: Stage) -> None:
    """All workers die at once, each with its test, while its successor is forked."""
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_a(n):
            hold("all")
            os.kill(os.getpid(), signal.SIGKILL)
        def test_b(): note("ran b")
        """
    )
    run = stage.start(gates=("all",), workers=3)
    run.expect(*["holding all"] * 3)
    for _ in range(3):
        run.release("all")
    ended = run.end()
    assert (ended.exit, ended.counts) == (1, {"failed": 3, "passed": 1})


NODE_DOWN = "[{}] node down: Not properly terminated: its process ended with exit code 3"


def said_of_crashes(run: Ended) -> list[str]:
    """Lines about workers, in the words of pytest-xdist, for which people search."""
    words = ("[gw", "replacing", "worker gw", "maximum")
    named = f"[gw0] {sys.platform}"
    return [
        line
        for line in run.text.splitlines()
        if line.startswith(words) and not line.startswith(named)
    ]


@pytest.mark.parametrize("start", [FORK, SPAWN])
def test_a_crash_is_told_when_it_happens(stage: Stage, start: str) -> None:
    stage.write(test_a="def test_a(): os._exit(3)\ndef test_b(): os._exit(3)")
    assert said_of_crashes(stage.run(start, "--tb=no", workers=1)) == [
        NODE_DOWN.format("gw0"),
        "replacing crashed worker gw0",
        NODE_DOWN.format("gw1"),
        "replacing crashed worker gw1 is not needed: nothing is left for it to run",
    ]


@pytest.mark.parametrize("option", ["-q", "--forked"])
def test_a_crash_is_told_in_the_report_alone(stage: Stage, option: str) -> None:
    """Where little is to be said, and where every process would have been replaced anyway."""
    stage.write(test_a="def test_a(): os._exit(3)\ndef test_b(): pass")
    run = stage.run(option, workers=1)
    assert run.counts == {"passed": 1, "failed": 1}
    assert said_of_crashes(run) == []


def test_more_crashes_than_may_be_replaced_are_told_although_all_tests_have_run(
    stage: Stage,
) -> None:
    stage.write(test_a="def test_ends(): os._exit(3)")
    run = stage.run("--max-worker-restart=0", "--tb=no", workers=1)
    text = "worker gw0 crashed and worker restarting disabled"
    assert said_of_crashes(run) == [NODE_DOWN.format("gw0"), text]
    assert f"= xdist: {text} (--max-worker-restart) =" in run.text


def test_the_first_crash_ends_the_run_if_no_worker_is_to_be_replaced(stage: Stage) -> None:
    stage.write(test_a=around("def test_ends(): os._exit(3)"))
    run = stage.run("--max-worker-restart=0", workers=1)
    assert run.exit == 1
    assert run.counts == {"passed": 6, "failed": 1}
    text = "worker gw0 crashed and worker restarting disabled"
    assert said_of_crashes(run) == [NODE_DOWN.format("gw0"), text]
    assert f"! xdist: {text} (--max-worker-restart) !" in run.text
    left = run.section("braid: tests without exactly one outcome")
    assert left.splitlines() == [f"not run: test_a.py::test_after[{n}]" for n in range(6)]


def test_the_other_worker_goes_on_if_none_is_to_be_replaced(stage: Stage) -> None:
    """It may end all there is, or the run stops because it has more than it can begin."""
    stage.write(test_a=around("def test_ends(): note('ran it'); os._exit(3)"))
    run = stage.run("--max-worker-restart=0", workers=2)
    assert run.exit == 1
    listed = run.section("braid: tests without exactly one outcome").splitlines()
    assert sum(run.counts.values()) + len(listed) == 13
    assert bool(listed) == ("! xdist: worker gw" in run.text)
    assert "= xdist: worker gw" in run.text or listed
    assert run.ran <= OTHERS + Counter({"it": 1})


def test_one_crash_more_than_may_be_replaced_ends_the_run(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_a(n):
            note("ran", n)
            os._exit(1)
        """
    )
    run = stage.run("--max-worker-restart=1", workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 2})
    assert run.ran == Counter("01")
    assert "\nmaximum crashed workers reached: 1\n" in run.text
    assert "! xdist: maximum crashed workers reached: 1 (--max-worker-restart) !" in run.text
    left = run.section("braid: tests without exactly one outcome")
    assert left.splitlines() == ["not run: test_a.py::test_a[2]", "not run: test_a.py::test_a[3]"]


FINISHED = """
    def pytest_runtest_logfinish(nodeid):
        if "PYTEST_XDIST_WORKER" not in os.environ: note("finished", nodeid)
"""
"""A conftest that notes when the controller has heard of the end of a test."""


def test_a_worker_that_is_killed_while_it_waits_is_told(stage: Stage) -> None:
    """By a process outside. It had run a test, and waits for the other worker to end its own."""
    stage.write(
        conftest=FINISHED + "    def pytest_testnodedown(): note('down')",
        test_a="""
        def test_a():
            note("pid", os.getpid())
            hold("a")
        def test_b():
            hold("b")
        """,
    )
    run = stage.start(gates=("a", "b"))
    run.expect("holding a", "holding b")
    run.release("a")
    run.expect("finished test_a.py::test_a")
    run.kill(int(run.noted("pid")[0]))
    run.expect("down")
    run.release("b")
    ended = run.end()
    assert (ended.exit, ended.counts) == (1, {"passed": 2, "errors": 1})
    assert "crashed while it ran no test: its process was killed by signal 9" in (
        ended.report("ERROR at teardown of test_a")
    )


def test_a_thread_that_a_test_left_behind_may_end_the_process(stage: Stage) -> None:
    """Then nobody can say whose thread it was: told with the worker's last test."""
    stage.write(
        conftest=FINISHED,
        test_a="""
        import threading
        def later():
            hold("later")
            os._exit(0)
        def test_leaves_a_thread():
            note("pid", os.getpid())
            threading.Thread(target=later, daemon=True).start()
            hold("a")
        def test_other(): hold("other")
        """,
    )
    run = stage.start(gates=("later", "a", "other"))
    run.expect("holding later", "holding a", "holding other")
    run.release("a")
    run.expect("finished test_a.py::test_leaves_a_thread")
    run.release("later")
    run.await_death(int(run.noted("pid")[0]))
    run.release("other")
    ended = run.end()
    assert (ended.exit, ended.counts) == (1, {"passed": 2, "errors": 1})
    assert "' crashed while it" in ended.report("ERROR at teardown of test_leaves_a_thread")


def test_workers_that_are_killed_at_any_moment_lose_no_test(stage: Stage) -> None:
    """By a process outside, whenever a test tells that it runs: by then it may have ended."""
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(300))
        def test_a(n):
            note("ran", n, os.getpid())
        """
    )
    run = stage.start("--max-worker-restart=1000", "-v")
    killed = set()
    for n, line in enumerate(run.lines()):
        pid = int(line.split()[2])
        if n % 17 == 0 and pid not in killed:
            killed.add(pid)
            run.kill(pid)
    ended = run.end()
    assert killed
    assert ended.exit == 1
    ran = Counter(line.split()[1] for line in ended.notes)
    assert max(ran.values()) == 1
    outcomes = re.findall(
        r"^\[gw.* (PASSED|FAILED) test_a.py::(test_a\[\d+\])", ended.text, re.MULTILINE
    )
    told = Counter(nodeid for _, nodeid in outcomes)
    assert told.keys() == {f"test_a[{n}]" for n in range(300)}
    twice = {nodeid for nodeid, count in told.items() if count > 1}  # killed in the teardown
    assert len(twice) <= len(killed)
    assert Counter(pair for pair in outcomes if pair[1] in twice) == {
        (outcome, nodeid): 1 for nodeid in twice for outcome in ("PASSED", "FAILED")
    }


STORM = """
    import random
    PLAN = random.Random({seed}).choices(
        ["passes", "fails", "exits", "is killed", "faults", "exits in setup", "exits in teardown"],
        [20, 3, 1, 1, 1, 1, 1],
        k=120,
    )
    ENDS = {{
        "exits": lambda: os._exit(0),
        "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "faults": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    }}
    @pytest.fixture(scope="module", autouse=True)
    def of_module(): yield
    @pytest.fixture(autouse=True)
    def around(n):
        if PLAN[n] == "exits in setup":
            note("ran", n)
            os._exit(1)
        yield
        if PLAN[n] == "exits in teardown": os._exit(1)
    @pytest.mark.parametrize("n", range(len(PLAN)))
    def test_a(n):
        note("ran", n)
        note("planned", n, PLAN[n])
        if PLAN[n] in ENDS: ENDS[PLAN[n]]()
        assert PLAN[n] != "fails"
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_faults_leaves_each_test_its_own_outcome(stage: Stage, seed: int) -> None:
    stage.write(test_a=STORM.format(seed=seed))
    run = stage.run("-v", "--max-worker-restart=1000", workers=3)
    assert run.exit == 1
    assert run.ran == {str(n): 1 for n in range(120)}
    passing = {line.split()[1] for line in run.notes if line.endswith(" passes")}
    outcomes = re.findall(
        r"^\[gw.* (PASSED|FAILED|ERROR) .*test_a\[(\d+)\]", run.text, re.MULTILINE
    )
    twice = {line.split()[1] for line in run.notes if line.endswith(" exits in teardown")}
    assert Counter(n for _, n in outcomes) == {str(n): 1 + (str(n) in twice) for n in range(120)}
    assert {n for outcome, n in outcomes if outcome == "PASSED"} == passing | twice


def test_reports_of_a_crash_reach_hooks_and_junit(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_handlecrashitem(crashitem, report, sched):
            note("crashitem", crashitem, report.outcome, report.when)
        def pytest_testnodedown(node, error):
            note("down", node.gateway.id, error)
        """,
        test_a=around("def test_ends(): os._exit(3)"),
    )
    junit = stage.base / "junit.xml"
    run = stage.run(f"--junitxml={junit}", "-p", "junitxml", workers=1)
    assert "crashitem test_a.py::test_ends failed call" in run.notes
    assert "down gw0 Not properly terminated: its process ended with exit code 3" in run.notes
    assert "down gw1 None" in run.notes
    text = junit.read_text(encoding="utf-8")
    assert 'tests="13"' in text
    assert 'failures="1"' in text


def test_a_crashed_test_is_run_first_by_failed_first(stage: Stage) -> None:
    stage.write(test_a=around("def test_ends(): os._exit(3)"))
    assert stage.run().counts == {"passed": 12, "failed": 1}
    again = stage.run("--lf")
    assert again.counts == {"failed": 1}


def test_exitfirst_stops_after_a_crash(stage: Stage) -> None:
    stage.write(test_a=around("def test_ends(): os._exit(3)"))
    run = stage.run("-x", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 6, "failed": 1})
    assert "stopping after 1 failures" in run.text


# --- collection and zygote ------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["exit_0", "exit_3", "segv", "kill"])
def test_a_module_that_ends_the_process_when_imported(stage: Stage, end: str) -> None:
    how, words = ENDS[end]
    stage.write(test_a="def test_a(): pass", test_b=f"print('importing b', flush=True)\n{how}")
    run = stage.run()
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "the process that collects the tests is gone: its process " in run.text
    assert words in run.text
    assert "while it collected 'test_b.py'" in run.text
    assert "importing b" in run.text
    reason = next(line for line in reversed(run.text.splitlines()) if line.startswith("!"))
    assert "the process that collects the tests is gone" in reason


@pytest.mark.parametrize("start", [FORK, SPAWN])
def test_the_first_worker_may_crash_while_it_collects(stage: Stage, start: str) -> None:
    """A forked one is configured as the first, and collects for all."""
    stage.write(test_a="os._exit(3)")
    run = stage.run("--max-worker-restart=0", start)
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    text = "worker gw0 crashed and worker restarting disabled (--max-worker-restart)"
    assert f"! xdist: {text} !" in run.text


def test_a_conftest_that_ends_the_process_in_configure(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_configure(config):
            if hasattr(config, "workerinput"): os._exit(7)
        """,
        test_a="def test_a(): pass",
    )
    run = stage.run()
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "its process ended with exit code 7" in run.text


def test_a_killed_zygote_ends_the_run_and_names_what_did_not_run(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_passes(): note("ran 1")
        def test_holds():
            note("zygote", os.getppid())
            hold("ever")
        def test_next(): note("ran 2")
        """
    )
    run = stage.start(gates=("ever",), workers=1)
    run.expect("holding ever")
    run.kill(int(run.noted("zygote")[0]))
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "the process that forks the workers is gone" in ended.text
    assert "killed by signal 9" in ended.text
    assert "gw0: test_a.py::test_holds (after" in ended.text
    assert "not run: test_a.py::test_next" in ended.text
    assert "not run: test_a.py::test_holds" not in ended.text
    assert ended.counts["passed"] == 1


def test_a_zygote_that_ends_in_unconfigure_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"): print("bye", flush=True); os._exit(9)
        """,
        test_a="def test_a(): pass",
    )
    run = stage.run()
    assert "exit code 9" in run.text + run.errors
    assert run.exit != 0


# --- other ends of a run --------------------------------------------------------------------------


def test_no_tests(stage: Stage) -> None:
    stage.write(test_a="")
    run = stage.run()
    assert run.exit == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "no tests ran" in run.text


def test_collection_errors_stop_the_run(stage: Stage) -> None:
    stage.write(test_a="def test_a(): note('ran a')", test_b="1 / 0", test_c="import nothing_here")
    run = stage.run()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    assert (run.counts, run.ran) == ({"errors": 2}, Counter())
    assert "Interrupted: 2 errors during collection" in run.text
    assert "ZeroDivisionError" in run.text
    assert "nothing_here" in run.text


def test_collection_errors_are_no_reason_to_stop_if_told_so(stage: Stage) -> None:
    stage.write(test_a="def test_a(): note('ran a')", test_b="1 / 0")
    run = stage.run("--continue-on-collection-errors")
    assert run.exit == 1
    assert (run.counts, run.ran) == ({"errors": 1, "passed": 1}, Counter("a"))


@pytest.mark.parametrize("start", [FORK, SPAWN])
@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_exitfirst_ends_soon_and_tears_everything_down(
    stage: Stage, option: str, start: str
) -> None:
    """Of 66 equally long tests the sixth fails, beside the fifth: at most one more has begun."""
    stage.write(
        conftest=UP_AND_DOWN + FINISHED,
        test_a="""
        @pytest.mark.parametrize("n", range(66))
        def test_a(n, worker_id):
            import time
            hold(worker_id)
            time.sleep(0.02)  # or they are so short that some are handed out in advance
            note("ran", n)
            assert n != 5
        """,
    )
    run = stage.start(option, start, gates=("gw0", "gw1"))
    for _ in range(3):
        run.expect("holding gw0", "holding gw1")
        run.release("gw0")
        run.release("gw1")
    run.expect("finished test_a.py::test_a[5]")
    run.release("gw0")
    run.release("gw1")
    ended = run.end()
    assert ended.exit == 1
    assert ended.counts["failed"] == 1
    assert sum(ended.counts.values()) == sum(ended.ran.values()) <= 8
    assert "stopping after 1 failures" in ended.text
    fixtures = Counter(line for line in ended.notes if line.startswith(("up", "down")))
    for scope in ("session", "module", "test"):
        assert fixtures[f"up {scope}"] == fixtures[f"down {scope}"] > 0
    assert not ended.section("braid: tests without exactly one outcome")


def test_no_worker_begins_a_test_after_the_failure_that_is_enough(stage: Stage) -> None:
    """The other one, in the middle of a test, ends it and does not take the next from its queue."""
    stage.write(
        conftest=FINISHED,
        test_a="""
        def test_fails():
            hold("fails")
            assert 0
        """,
        test_b="""
        def test_other(): hold("other")
        @pytest.mark.parametrize("n", range(10))
        def test_next(n): note("ran", n)
        """,
    )
    run = stage.start("-x", gates=("fails", "other"))
    run.expect("holding fails", "holding other")
    run.release("fails")
    run.expect("finished test_a.py::test_fails")
    run.release("other")
    ended = run.end()
    assert (ended.exit, ended.counts) == (1, {"passed": 1, "failed": 1})
    assert not ended.ran


def test_a_failure_is_not_lost_if_the_teardown_ends_the_process(stage: Stage) -> None:
    stage.write(
        test_a=around("""
@pytest.fixture
def ends():
    yield
    os._exit(3)
def test_ends(ends): assert "this" == "that"
""")
    )
    run = stage.run()
    assert (run.exit, run.counts) == (1, {"passed": 12, "failed": 1, "errors": 1})
    assert 'assert "this" == "that"' in run.report("test_ends")
    assert "exit code 3" in run.report("ERROR at teardown of test_ends")


@pytest.mark.parametrize("start", [FORK, SPAWN])
def test_a_passed_call_is_not_lost_if_the_teardown_ends_the_process(
    stage: Stage, start: str
) -> None:
    """Whether the next test is in its queue, or it asks for one in the teardown (the last)."""
    stage.write(
        conftest="""
        def pytest_runtest_logreport(report):
            if hasattr(report, "node"): note("told", report.nodeid[-2], report.when, report.outcome)
        """,
        test_a="""
        @pytest.fixture
        def ends():
            yield
            os._exit(3)
        @pytest.mark.parametrize("n", range(3))
        def test_ends(ends, n): print("passed before")
        """,
    )
    run = stage.run(start, "--junit-xml=junit.xml", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 3, "failed": 3})
    assert [line for line in run.notes if line.startswith("told")] == [
        f"told {n} {told}"
        for n in range(3)
        for told in ("setup passed", "call passed", "call failed")
    ]
    assert "its process ended with exit code 3" in run.report("test_ends[1]")
    cases = ET.parse(stage.path / "junit.xml").getroot().iter("testcase")
    assert [[child.tag for child in case] for case in cases] == [["failure"]] * 3


@pytest.mark.parametrize("start", [FORK, SPAWN])
def test_what_a_plugin_wrote_to_the_terminal_before_it_ended_the_process(
    stage: Stage, start: str
) -> None:
    """As pytest-timeout does with ``--timeout-method=thread``, from a thread of its own."""
    stage.write(
        conftest="""
        import threading
        def write(terminal, text):
            terminal.sep("+", title="Timeout")
            terminal.write(text)
            terminal.flush()
        def end(item):
            write(item.config.get_terminal_writer(), "Stack of MainThread \u2713")
            os._exit(1)
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_call(item):
            write(item.config.get_terminal_writer(), "earlier")
            if "ends" in item.name: write(item.config.get_terminal_writer(), "of this phase")
            return (yield)
        @pytest.fixture
        def of_plugin(request):
            return threading.Thread(target=end, args=[request.node])
        """,
        test_a=around("""
def test_ends(of_plugin):
    of_plugin.start()
    of_plugin.join()
"""),
    )
    run = stage.run(start)
    assert (run.exit, run.counts) == (1, {"passed": 12, "failed": 1})
    report = run.report("test_ends")
    _, title, written = report.partition("Written to the terminal")
    assert title, report
    for text in ("+ Timeout +", "of this phase", "Stack of MainThread \u2713"):
        assert text in written
    assert written.count("earlier") == 1
    assert "Written to the terminal" not in run.text.replace(report, "")


def test_maxfail_counts_over_all_workers(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(200))
        def test_a(n): assert n % 2
        """
    )
    run = stage.run("--maxfail=3")
    assert run.exit == 1
    assert 3 <= run.counts["failed"] <= 4  # the other worker may have been at one of its own
    assert f"stopping after {run.counts['failed']} failures" in run.text


def test_a_failing_test_in_each_worker_at_once_with_exitfirst(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(2))
        def test_a(n):
            hold("both")
            assert 0
        """
    )
    run = stage.start("-x", gates=("both",))
    run.expect("holding both", "holding both")
    run.release("both")
    run.release("both")
    ended = run.end()
    assert ended.exit == 1
    assert ended.counts == {"failed": 2}


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV])
def test_a_grandchild_may_hold_what_a_crashed_worker_held(stage: Stage, signum: int) -> None:
    """A copy of the worker has its socket too, so that the end of its stream never comes."""
    stage.write(
        test_a=around(f"""
def test_ends():
    if os.fork() == 0:
        hold("grandchild")
        os._exit(0)
    hold("parent")
    os.kill(os.getpid(), {int(signum)})
""")
    )
    run = stage.start(gates=("grandchild", "parent"))
    run.expect("holding grandchild", "holding parent")
    run.release("parent")
    run.await_end()
    run.release("grandchild")
    ended = run.end()
    assert ended.counts == {"passed": 12, "failed": 1}
    assert ended.ran == OTHERS


# --- the ledger -----------------------------------------------------------------------------------

FOUR = """
    def test_a(): note("ran a")
    def test_b(): note("ran b")
    def test_c(): note("ran c")
    def test_d(): note("ran d")
"""


def test_a_test_that_the_controller_lost_is_named_and_fails_the_run(stage: Stage) -> None:
    """A fault that braid does not have: the controller's book has no entry for a test."""
    stage.write(
        conftest="""
        from pytest_braid.control.ledger import Ledger
        count = Ledger.count
        def lossy(self, test):
            if test != 2: count(self, test)
        Ledger.count = lossy
        """,
        test_a=FOUR,
    )
    run = stage.run()
    assert (run.exit, run.counts) == (1, {"passed": 4})
    assert run.section("braid: tests without exactly one outcome").strip() == (
        "not run: test_a.py::test_c"
    )
    assert "braid: not every test has exactly one outcome, see above" in run.text


def test_a_test_that_ended_twice_is_named_and_fails_the_run(stage: Stage) -> None:
    stage.write(
        conftest="""
        from pytest_braid.control.ledger import Ledger
        count = Ledger.count
        def double(self, test):
            count(self, test)
            if test == 1: count(self, test)
        Ledger.count = double
        """,
        test_a=FOUR,
    )
    run = stage.run()
    assert run.exit == 1
    assert run.section("braid: tests without exactly one outcome").strip() == (
        "ended twice: test_a.py::test_b"
    )


def test_a_worker_that_runs_another_test_than_it_was_given_is_noticed(stage: Stage) -> None:
    """Another fault that braid does not have: then nobody could say what has run."""
    stage.write(
        conftest="""
        from pytest_braid.wire.queue import QueueReader
        take = QueueReader.take
        def confused(self, ask):
            record = take(self, ask)
            return 2 if record == 1 else record
        QueueReader.take = confused
        """,
        test_a=FOUR,
    )
    run = stage.run(workers=1)
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "worker gw0 started test 2, but running there is nothing and queued 1" in run.text
    assert "This is a fault of pytest-braid" in run.text


def test_a_hook_of_the_controller_that_raises_leaves_nobody_waiting(stage: Stage) -> None:
    """Also where a test does not let itself be interrupted, and its worker asks what is next."""
    stage.write(
        conftest="""
        def pytest_runtest_logreport(report):
            if report.nodeid.endswith("test_a") and report.when == "call":
                if "PYTEST_XDIST_WORKER" not in os.environ: raise ValueError("of the controller")
        """,
        test_a="def test_a(): hold('a')",
        test_b="""
        def test_b():
            try: hold("b")
            except KeyboardInterrupt: note("deaf")
        """,
    )
    run = stage.start("--start-method=fork", gates=("a", "b"))
    run.expect("holding a", "holding b")
    run.release("a")
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "ValueError: of the controller" in ended.text
    assert "deaf" in ended.notes
