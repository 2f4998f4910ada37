"""A test that hangs fails at its timeout, with its stacks; all others run once."""

from __future__ import annotations

import signal
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Suite

AROUND = """
    import ctypes, re, subprocess, threading, time

    @pytest.mark.parametrize("n", range(6))
    def test_before(n): note("ran before", n)

    {}

    @pytest.mark.parametrize("n", range(6))
    def test_after(n): note("ran after", n)
"""

OTHERS = Counter({f"{name} {n}": 1 for name in ("before", "after") for n in range(6)})


def around(test: str) -> str:
    """A module with six tests before and six after ``test``, which alone has a limit."""
    return AROUND.format("\n    ".join(test.strip().splitlines()))


SLEEPS = """
@pytest.mark.timeout(0.5)
def test_hangs():
    note("ran it")
    print("last words"); print("last errors", file=sys.stderr)
    time.sleep(100)  # here
"""


def line_of(source: str, text: str) -> int:
    """Its number in a file that ``Stage.write`` has made of ``source``."""
    return 2 + next(n for n, line in enumerate(source.splitlines(), 1) if text in line)


def hung(run: Ended, name: str = "test_hangs", passed: int = 12) -> str:
    """The report of the test that hung; nothing else has failed."""
    assert (run.exit, run.counts) == (1, {"passed": passed, "failed": 1})
    report = run.report(name)
    assert "Timeout " in report
    return report


# --- however it hangs -------------------------------------------------------------------------

MODES = ("load", "worksteal", "loadscope", "loadfile", "loadgroup")
FORK, SPAWN = "--start-method=fork", "--start-method=spawn"


@pytest.mark.parametrize(
    "args",
    [
        *((f"--dist={mode}", way) for mode in MODES for way in (FORK, SPAWN, "--forked")),
        (SPAWN, "--forked"),
    ],
    ids=" ".join,
)
def test_a_hung_test_fails_alone_in_every_mode_and_way(stage: Stage, args: tuple[str, ...]) -> None:
    source = around(SLEEPS.replace("@pytest.mark.timeout(0.5)", "@pytest.mark.xdist_group('it')"))
    stage.write(test_a=source)
    run = stage.run("--test-timeout=1", *args)
    here = line_of(source, "# here")
    report = hung(run)
    assert run.ran == OTHERS + Counter({"it": 1})
    assert f"Timeout at test_a.py:{here} in test_hangs, after 1 s (--test-timeout).\n" in report
    assert f'test_a.py", line {here} in test_hangs\n' in report


HANGS = {
    "sleep": "time.sleep(100)",
    "busy loop": "while True: pass",
    "C code that holds the GIL": "ctypes.PyDLL(None).sleep(100)",
    "a regular expression": 're.match("(a+)+$", "a" * 40 + "b")',
    "a thread that never ends": "(t := threading.Thread(target=time.sleep, args=(100,))).start(); "
    "t.join()",
    "a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "a child process": "subprocess.run([sys.executable, '-c', 'import time; time.sleep(100)'])",
    "closed descriptors": "os.closerange(3, 60); time.sleep(100)",
}


@pytest.mark.parametrize("way", HANGS)
def test_a_test_may_hang_in_any_way(stage: Stage, way: str) -> None:
    source = around(f"""
@pytest.mark.timeout(0.5)
def test_hangs():
    note("ran it")
    {HANGS[way]}
""")
    stage.write(test_a=source)
    run = stage.run()
    here = line_of(source, "ran it") + 1
    report = hung(run)
    assert run.ran == OTHERS + Counter({"it": 1})
    assert report.splitlines()[1].startswith(f"Timeout at test_a.py:{here} in test_hangs, after ")
    assert "was ended (SIGTERM)" in report


DEFIANT = {
    "ignores SIGTERM": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", True),
    "handles SIGTERM": ("signal.signal(signal.SIGTERM, lambda *_: None)", True),
    "blocks all signals": ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", False),
    "ignores all signals": (
        "[signal.signal(n, signal.SIG_IGN) for n in range(1, 65) if n not in (9, 19, 32, 33)]",
        False,
    ),
}


@pytest.mark.parametrize("way", DEFIANT)
def test_a_worker_that_defies_signals_is_killed(stage: Stage, way: str) -> None:
    code, has_stacks = DEFIANT[way]
    stage.write(
        test_a=around(f"""
@pytest.mark.timeout(0.5)
def test_hangs():
    note("ran it")
    print("last words")
    {code}
    while True: time.sleep(100)
""")
    )
    run = stage.run()
    report = hung(run)
    assert run.ran == OTHERS + Counter({"it": 1})
    assert "was ended (SIGKILL, for SIGTERM did not end it)" in report
    assert "\nlast words\n" in report
    assert ("Stacks of all threads" in report) == has_stacks
    assert ("in test_hangs\n" in report) == has_stacks
    no_stacks = "It has written no stacks: it blocks or ignores signals, or the kernel keeps it."
    assert (no_stacks in report) != has_stacks


def test_a_worker_without_a_handler_for_the_stacks_ends_as_well(stage: Stage) -> None:
    stage.write(
        test_a=around("""
@pytest.mark.timeout(0.5)
def test_hangs():
    for n in range(1, 65):
        if n not in (9, 19, 32, 33): signal.signal(n, signal.SIG_DFL)
    time.sleep(100)
""")
    )
    run = stage.run()
    assert "It has written no stacks" in hung(run)


def test_a_test_that_goes_on_after_its_timeout_is_not_heard_and_not_followed(stage: Stage) -> None:
    """It is a failure from then on, and what comes after it runs in another worker, once."""
    stage.write(
        test_a=around("""
@pytest.fixture
def ends():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    os.kill(os.getpid(), signal.SIGSTOP)
    note("goes on")
@pytest.mark.timeout(0.5)
def test_hangs(ends): note("ran it")
""")
    )
    run = stage.run(workers=1)
    hung(run, passed=13)
    assert run.ran == OTHERS + Counter({"it": 1})
    assert "goes on" in run.notes


def test_two_workers_may_hang_at_once(stage: Stage) -> None:
    stage.write(
        test_a="""
        import time
        @pytest.mark.timeout(0.5)
        @pytest.mark.parametrize("n", range(2))
        def test_a(n):
            note("ran", n)
            time.sleep(100)
        @pytest.mark.parametrize("n", range(2, 9))
        def test_b(n): note("ran", n)
        """
    )
    run = stage.run("--dist=load")
    assert (run.exit, run.counts) == (1, {"passed": 7, "failed": 2})
    assert run.ran == Counter(map(str, range(9)))


# --- wherever it hangs ------------------------------------------------------------------------

PLACES = {
    "setup": """
@pytest.fixture
def slow(): time.sleep(100)
""",
    "teardown": """
@pytest.fixture
def slow():
    yield
    time.sleep(100)
""",
    "setup of its class": """
@pytest.fixture(scope="class")
def slow(): time.sleep(100)
""",
    "teardown of its class": """
@pytest.fixture(scope="class")
def slow():
    yield
    time.sleep(100)
""",
}


@pytest.mark.parametrize("place", PLACES)
def test_setup_and_teardown_count(stage: Stage, place: str) -> None:
    source = around(
        PLACES[place]
        + """
class TestIt:
    @pytest.mark.timeout(0.5)
    def test_hangs(self, slow): note("ran it")
"""
    )
    stage.write(test_a=source)
    run = stage.run()
    passed = "teardown" in place  # and that is told, too
    report = hung(run, "TestIt.test_hangs", 12 + passed)
    assert run.ran == OTHERS + Counter({"it": 1} if passed else {})
    assert f"Timeout at test_a.py:{line_of(source, 'time.sleep')} in slow, after 0.5 s" in report


@pytest.mark.parametrize("scope", ["module", "session"])
def test_the_last_test_is_to_blame_for_a_wider_fixture(stage: Stage, scope: str) -> None:
    """As it is for any error there. What was not torn down of it is set up again elsewhere."""
    stage.write(
        conftest=f"""
        import time
        @pytest.fixture(scope="{scope}")
        def slow():
            yield
            if os.environ["PYTEST_XDIST_WORKER"] == "gw0": time.sleep(100)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_a(slow, n): note("ran", n)
        """,
        test_b="""
        @pytest.mark.parametrize("n", range(6, 12))
        def test_b(n): note("ran", n)
        """,
    )
    run = stage.run("--test-timeout=2", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 12, "failed": 1})
    assert run.ran == Counter(map(str, range(12)))
    last = "test_a[5]" if scope == "module" else "test_b[11]"
    assert "in slow, after 2 s (--test-timeout)" in run.report(last)


def test_a_failure_before_the_hang_is_reported_too(stage: Stage) -> None:
    stage.write(
        test_a=around("""
@pytest.fixture
def slow():
    yield
    time.sleep(100)
@pytest.mark.timeout(0.5)
def test_hangs(slow): assert not "this"
""")
    )
    run = stage.run()
    assert run.counts == {"passed": 12, "failed": 1, "errors": 1}
    assert "assert not 'this'" in run.report("test_hangs")
    assert "Timeout at test_a.py:" in run.report("ERROR at teardown of test_hangs")


def test_the_end_of_a_session_has_the_limit_of_all_tests(stage: Stage) -> None:
    stage.write(
        conftest="""
        import time
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0": time.sleep(100)
        """,
        test_a=around(""),
    )
    run = stage.run("--test-timeout=2", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 12, "errors": 1})
    assert run.ran == OTHERS
    assert (
        "worker 'gw0' ran out of time while it ended its session (fixtures of session scope, "
        "pytest_sessionfinish): at conftest.py:6 in pytest_sessionfinish, after 2 s "
        "(--test-timeout)\n"
    ) in run.report("ERROR at teardown of test_after[5]")


def test_so_has_that_of_a_worker_that_came_too_late(stage: Stage) -> None:
    """It is told to end its session before it is up, and its clock starts when it is."""
    stage.write(
        conftest="""
        import time
        forks = []
        def before(): forks.append(os.getpid())
        def after():
            if len(forks) == 2: hold("birth")
        def pytest_collection_finish(session):
            os.register_at_fork(before=before, after_in_child=after)
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw1": time.sleep(100)
        def pytest_runtest_logfinish(nodeid):
            if "PYTEST_XDIST_WORKER" not in os.environ: note("finished", nodeid)
        """,
        test_a="""
        def test_1(): assert not "enough"
        def test_2(): note("ran 2")
        """,
    )
    running = stage.start("-x", "--test-timeout=2", gates=("birth",))
    running.expect("holding birth", "finished test_a.py::test_1")
    running.release("birth")
    run = running.end()
    assert (run.exit, run.counts, run.ran) == (1, {"failed": 1}, Counter())
    assert run.section("braid: workers that died without a test").startswith(
        "worker 'gw1' ran out of time while it ended its session (fixtures of session scope, "
        "pytest_sessionfinish): at conftest.py:"
    )


@pytest.mark.parametrize("where", ["request.config.add_cleanup", "atexit.register"])
def test_a_worker_that_hangs_while_it_makes_room_is_an_error(stage: Stage, where: str) -> None:
    stage.write(
        test_a=f"""
        import atexit, time
        def test_1(request):
            note("ran 1")
            {where}(lambda: time.sleep(100))
        def test_2(): note("ran 2")
        """
    )
    run = stage.run("--test-timeout=2", "--forked", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 2, "errors": 1})
    assert run.ran == Counter("12")
    assert "worker 'gw0' ran out of time after its last test, while " in run.report(
        "ERROR at teardown of test_1"
    )


# --- what a limit does not touch --------------------------------------------------------------


def test_a_slow_teardown_below_its_limit_is_not_cut(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture(scope="session", autouse=True)
        def slow():
            yield
            hold("teardown")
            note("torn down")
        def test_1(): note("ran 1")
        """
    )
    running = stage.start("--test-timeout=50", gates=("teardown",), workers=1)
    running.expect("holding teardown")
    running.release("teardown")
    run = running.end()
    assert (run.exit, run.counts) == (0, {"passed": 1})
    assert run.notes[-1] == "torn down"


def test_waiting_for_the_controller_is_not_the_time_of_a_test(stage: Stage) -> None:
    """It is busy for longer than the limit, while a teardown waits to know what comes next."""
    stage.write(
        conftest="""
        import time
        def pytest_runtest_logstart(nodeid):
            if "PYTEST_XDIST_WORKER" not in os.environ: time.sleep(1.5)
        """,
        test_a="""
        @pytest.fixture(autouse=True)
        def ends():
            yield
            note("torn down")
        @pytest.mark.parametrize("n", range(3))
        def test_a(n): note("ran", n)
        """,
    )
    run = stage.run("--test-timeout=1", "--maxschedchunk=1", workers=1)
    assert (run.exit, run.counts) == (0, {"passed": 3})
    assert run.ran == Counter("012")


def test_0_frees_a_test_from_the_limit_of_all(stage: Stage) -> None:
    stage.write(
        test_a="""
        import time
        @pytest.mark.timeout(0)
        def test_a():
            time.sleep(1)
            note("ran a")
        """
    )
    run = stage.run("--test-timeout=0.5")
    assert (run.exit, run.ran) == (0, Counter("a"))


# --- beside other options ---------------------------------------------------------------------


@pytest.mark.parametrize("args", ["-x", "--maxfail=1"])
def test_a_timeout_is_a_failure_that_stops_a_run(stage: Stage, args: str) -> None:
    stage.write(test_a=around(SLEEPS))
    run = stage.run(args, workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 6, "failed": 1})
    assert "stopping after 1 failures" in run.text


def test_a_recycled_worker_may_hang(stage: Stage) -> None:
    stage.write(test_a=around(SLEEPS))
    run = stage.run("--max-tests-per-worker=2")
    hung(run)
    assert run.ran == OTHERS + Counter({"it": 1})


def test_a_timeout_is_no_crash_that_is_counted(stage: Stage) -> None:
    """The hang is the test's; its worker was killed for it and has not crashed."""
    stage.write(
        conftest="def pytest_handlecrashitem(crashitem): note('crashed', crashitem)",
        test_a=around(SLEEPS),
    )
    run = stage.run("--max-worker-restart=0", workers=1)
    hung(run)
    assert run.ran == OTHERS + Counter({"it": 1})
    assert not [line for line in run.notes if "crashed" in line]


@pytest.mark.parametrize("way", [FORK, SPAWN, "--forked"])
def test_every_copy_of_a_test_may_hang(stage: Stage, way: str) -> None:
    stage.write(test_a=around(SLEEPS))
    run = stage.run("--dist=each", way)
    assert (run.exit, run.counts) == (1, {"passed": 24, "failed": 2})
    assert run.ran == Counter({name: 2 * count for name, count in OTHERS.items()} | {"it": 2})


def test_ctrl_c_does_not_stop_the_clock(stage: Stage) -> None:
    """The first Ctrl-C lets running tests end: one that does not is ended at its timeout."""
    stage.write(
        test_a="""
        import time
        @pytest.mark.timeout(3)
        def test_hangs():
            signal.signal(signal.SIGINT, lambda *_: note("interrupted"))
            note("ready")
            while True: time.sleep(100)
        """
    )
    running = stage.start(workers=1)
    running.expect("ready")
    running.send(signal.SIGINT)
    running.expect("interrupted")
    run = running.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    assert "Timeout at test_a.py:" in run.report("test_hangs")


def test_last_failed_knows_of_it(suite: Suite) -> None:
    suite.write(test_a="import pytest, time\n" + SLEEPS.replace('note("ran it")', "import sys"))
    suite.braid()
    assert suite.braid("--co", "-q", "--lf").lines[0] == "test_a.py::test_hangs"


# --- what is said -----------------------------------------------------------------------------


def test_the_report_says_what_where_why_and_what_to_do(stage: Stage) -> None:
    source = around(SLEEPS.replace("@pytest.mark.timeout(0.5)\n", ""))
    stage.write(test_a=source)
    run = stage.run("--test-timeout=2", "--junitxml=junit.xml", workers=1)
    here = line_of(source, "# here")
    lines = run.report("test_hangs").splitlines()
    assert lines[0].startswith("[gw0] linux -- Python ")
    assert "\n".join(lines[1:4]) == (
        f"Timeout at test_a.py:{here} in test_hangs, after 2 s (--test-timeout).\n"
        "'test_a.py::test_hangs' still ran, so its worker 'gw0' was ended (SIGTERM): what fixtures "
        "had set up there is not torn down. The stacks of its threads are below.\n"
        "If it needs longer, mark it with @pytest.mark.timeout(SECONDS), 0 for no limit, or raise "
        "the limit of all tests (--test-timeout)."
    )
    assert [line for line in lines if line.startswith("---")] == [
        " Captured stdout ".center(80, "-"),
        " Captured stderr ".center(80, "-"),
        " Stacks of all threads ".center(80, "-"),
    ]
    assert lines[5] == "last words"
    assert lines[7] == "last errors"
    assert "thread 0x" in lines[9].lower()
    assert lines[10].endswith(f'test_a.py", line {here} in test_hangs')
    assert lines[11] == "  ... (called by pytest)"
    assert "\nFAILED test_a.py::test_hangs" in run.text
    (failure,) = ET.parse(stage.path / "junit.xml").getroot().iter("failure")
    assert "Timeout at test_a.py:" in str(failure.text)


def test_the_thread_that_ran_the_test_comes_first(stage: Stage) -> None:
    stage.write(
        test_a=around("""
def pump(): time.sleep(100)
@pytest.mark.timeout(0.5)
def test_hangs():
    for _ in range(3): threading.Thread(target=pump).start()
    time.sleep(100)
""")
    )
    report = hung(stage.run())
    frames = [line.rpartition(" ")[2] for line in report.splitlines() if "test_a.py" in line]
    assert frames[-4:] == ["test_hangs", "pump", "pump", "pump"]


LIMITED = """
import pytest, time
def test_a(): time.sleep(100)
"""


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        (["--test-timeout=0.5", "-otest_timeout=7"], "8", "0.5 s (--test-timeout)"),
        (
            ["-otest_timeout=7"],
            "0.5",
            "0.5 s (the environment variable PYTEST_XDIST_WORKER_TIMEOUT)",
        ),
        (["-otest_timeout=0.5"], "", "0.5 s (the ini option test_timeout)"),
    ],
)
def test_who_has_set_the_limit_is_said(stage: Stage, args: list[str], env: str, said: str) -> None:
    stage.write(test_a=LIMITED)
    stage.env["PYTEST_XDIST_WORKER_TIMEOUT"] = env
    report = stage.run(*args).report("test_a")
    assert f" in test_a, after {said}.\n" in report
    assert f"or raise the limit of all tests ({said[said.index('(') + 1 :]}." in report


@pytest.mark.parametrize("mark", ["timeout(0.5)", "timeout(timeout=0.5, method='thread')"])
def test_a_mark_counts_more_than_the_limit_of_all(stage: Stage, mark: str) -> None:
    stage.write(test_a=LIMITED.replace("def", f"@pytest.mark.{mark}\ndef"))
    report = stage.run("--test-timeout=50", "--strict-markers").report("test_a")
    assert " in test_a, after 0.5 s (its mark timeout).\n" in report
    assert "\nIf it needs longer, let its mark say so; timeout(0) means no limit.\n" in report


def test_the_closest_mark_counts(stage: Stage) -> None:
    stage.write(
        test_a="""
        import time
        pytestmark = pytest.mark.timeout(50)
        @pytest.mark.timeout(60)
        class TestIt:
            @pytest.mark.timeout(0.5)
            def test_a(self): time.sleep(100)
        """
    )
    assert "after 0.5 s (its mark timeout)" in stage.run().report("TestIt.test_a")


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_bad_value_is_a_usage_error(suite: Suite, text: str) -> None:
    suite.write(test_a="def test_1(): pass")
    bad = f"{text!r} is not a number of seconds above 0"
    run = suite.braid(f"--test-timeout={text}")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert f"argument --test-timeout: {bad}" in run.errors
    run = suite.braid(f"-otest_timeout={text}")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: the ini option test_timeout: {bad}; leave it empty for no limit" in run.errors
    suite.env["PYTEST_XDIST_WORKER_TIMEOUT"] = text
    run = suite.braid()
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: the environment variable PYTEST_XDIST_WORKER_TIMEOUT: {bad}; " in run.errors


@pytest.mark.parametrize(
    ("given", "said"),
    [("'soon'", "'soon'"), ("-1", "-1"), ("", "None"), ("method='thread'", "None")],
)
def test_a_bad_mark_is_a_usage_error_that_names_its_test(
    suite: Suite, given: str, said: str
) -> None:
    suite.write(
        test_a=f"import pytest\n@pytest.mark.timeout({given})\ndef test_1(): pass", test_b=""
    )
    run = suite.braid()
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert (
        "ERROR: test_a.py::test_1: its mark timeout does not say a number of seconds, but "
        f"{said}: write @pytest.mark.timeout(3), or 0 for no limit"
    ) in run.errors


# --- without -n -------------------------------------------------------------------------------


def test_the_option_alone_makes_one_worker_and_says_so(suite: Suite) -> None:
    suite.write(test_a="def test_1(worker_id): assert worker_id == 'gw0'")
    run = suite.plain("-p", "braid", "--test-timeout=50")
    header = (
        "braid: --test-timeout: one worker, which is ended when its test hangs (-n N: N workers)"
    )
    assert header in run.lines
    assert "1 worker [1 item]" in run.lines
    assert run.exit == 0


@pytest.mark.parametrize(
    "args", ["-n0 --test-timeout=0.5", "--test-timeout=0.5 --pdb", "-otest_timeout=0.5"]
)
def test_where_there_is_no_worker_no_test_is_ended_and_it_is_said(suite: Suite, args: str) -> None:
    suite.write(
        test_a="import time\ndef test_1(worker_id): time.sleep(1); assert worker_id == 'master'"
    )
    run = suite.plain("-p", "braid", *args.split())
    assert (
        "braid: no test is ended at its timeout in this run: it has no worker that could be ended "
        "(-n 1 makes one)"
    ) in run.lines
    assert run.exit == 0


def test_without_workers_the_mark_and_the_variable_are_nobodys_business(suite: Suite) -> None:
    suite.write(test_a="import pytest\n@pytest.mark.timeout(9)\ndef test_1(): pass")
    suite.env["PYTEST_XDIST_WORKER_TIMEOUT"] = "9"
    run = suite.plain("-p", "braid", "--strict-markers")
    assert run.exit == 0
    assert "braid: " not in run.text


# --- beside pytest-timeout --------------------------------------------------------------------

ITS_PLUGIN = '''
import signal, pytest
def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(timeout, method=None): Set a timeout.")
@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Its own timer, in the words of its mark."""
    mark = item.get_closest_marker("timeout")
    if mark is not None:
        signal.signal(signal.SIGALRM, lambda *_: pytest.fail("by pytest-timeout"))
        signal.setitimer(signal.ITIMER_REAL, float(mark.args[0]))
    try: return (yield)
    finally: signal.setitimer(signal.ITIMER_REAL, 0)
'''


@pytest.fixture
def beside(suite: Suite) -> Suite:
    suite.plugin("pytest_timeout", ITS_PLUGIN)
    return suite


def test_the_timer_of_pytest_timeout_goes_first(beside: Suite) -> None:
    beside.write(
        test_a="import pytest, time\n@pytest.mark.timeout('0.5')\ndef test_1(): time.sleep(100)\n"
    )
    run = beside.braid("--test-timeout=0.5", "--strict-markers")
    assert "Failed: by pytest-timeout" in run.text
    assert "its worker" not in run.text


def test_ours_stands_behind_the_timer_of_pytest_timeout(beside: Suite) -> None:
    beside.write(
        test_a="""
        import pytest, signal, time
        @pytest.mark.timeout(0.5)
        def test_1():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(100)
        """
    )
    run = beside.braid("--test-timeout=1")
    assert " in test_1, after 1 s (--test-timeout).\n" in run.text
    assert "\nIf it needs longer, raise the limit of all tests (--test-timeout).\n" in run.text


def listed(suite: Suite) -> list[str]:
    lines = suite.plain("-p", "braid", "--markers").lines
    return [line for line in lines if line.startswith("@pytest.mark.timeout")]


def test_the_mark_is_listed(suite: Suite) -> None:
    (line,) = listed(suite)
    assert line == (
        "@pytest.mark.timeout(seconds): fail this test if it takes longer, setup and teardown "
        "included; 0: no limit (pytest-braid: with -n or --test-timeout)."
    )


def test_the_mark_of_pytest_timeout_is_listed_alone(beside: Suite) -> None:
    assert listed(beside) == ["@pytest.mark.timeout(timeout, method=None): Set a timeout."]
