"""Fresh processes: ``--max-tests-per-worker``, ``--forked``, and the mark ``forked``."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import islice

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Run, Suite

TOLD = """
@pytest.fixture(autouse=True)
def told(worker_id, request):
    yield
    note("in", os.getpid(), worker_id, request.node.name)
@pytest.mark.parametrize("n", range(12))
def test_n(n): note("ran", n)
"""


def by_process(run: Ended) -> dict[str, list[str]]:
    """The names of the tests that each process has run."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in run.notes:
        if line.startswith("in "):
            _, pid, _, name = line.split()
            found[pid].append(name)
    return found


def slots(run: Ended) -> set[str]:
    return {line.split()[2] for line in run.notes if line.startswith("in ")}


def noted(run: Ended, words: Iterable[str]) -> Counter[str]:
    """How often each of these words begins a note."""
    return Counter(word for line in run.notes for word in words if line.startswith(word))


# --- how many tests a process runs ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["load", "worksteal"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_no_process_runs_more_tests_than_it_may(
    stage: Stage, most: int, workers: int, mode: str
) -> None:
    stage.write(test_a=TOLD)
    run = stage.run(f"--max-tests-per-worker={most}", f"--dist={mode}", workers=workers)
    assert (run.exit, run.counts) == (0, {"passed": 12})
    counts = [len(names) for names in by_process(run).values()]
    assert max(counts) <= most
    assert len(counts) >= 12 // most
    assert slots(run) <= {f"gw{n}" for n in range(workers)}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_test_is_forked(stage: Stage, workers: int) -> None:
    stage.write(test_a=TOLD)
    run = stage.run("--forked", "--max-tests-per-worker=5", workers=workers)
    assert (run.exit, run.counts) == (0, {"passed": 12})
    assert [len(names) for names in by_process(run).values()] == [1] * 12
    assert slots(run) == {f"gw{n}" for n in range(workers)}


def test_forked_alone_runs_one_test_at_a_time_and_says_so(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os
        def test_1(record_property, worker_id): record_property("in", (worker_id, os.getpid()))
        def test_2(record_property, worker_id): record_property("in", (worker_id, os.getpid()))
        """
    )
    run = suite.plain("-p", "braid", "--forked")
    header = (
        "braid: --forked: every test in a process of its own, one at a time (-n N: N at a time)"
    )
    assert header in run.lines
    assert "1 worker [2 items]" in run.lines
    (first, one), (second, two) = told_in(run)
    assert first == second == "gw0"
    assert one != two


def told_in(run: Run) -> list[tuple[str, int]]:
    properties = [facts["user_properties"] for facts in run.told("logreport")]
    return [tuple(value) for found in properties for name, value in found if name == "in"][::2]


@pytest.mark.parametrize("args", ["-n0 --forked", "--forked --pdb", "--max-tests-per-worker=1"])
def test_where_there_are_no_workers_nothing_is_forked(suite: Suite, args: str) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.forked
        def test_1(worker_id): assert worker_id == "master"
        def test_2(worker_id): assert worker_id == "master"
        """
    )
    assert suite.plain("-p", "braid", "--strict-markers", *args.split()).exit == 0


def test_a_marked_test_alone_is_forked(stage: Stage) -> None:
    stage.write(
        test_a=TOLD
        + """
@pytest.mark.forked
def test_alone(): note("ran alone")
@pytest.mark.forked
class TestIt:
    def test_one(self): note("ran one")
    def test_two(self): note("ran two")
""",
        test_b="""
        pytestmark = pytest.mark.forked
        def test_b(request, worker_id):
            note("ran b"); note("in", os.getpid(), worker_id, request.node.name)
        """,
    )
    run = stage.run("--strict-markers")
    assert (run.exit, run.counts) == (0, {"passed": 16})
    alone = [names for names in by_process(run).values() if not names[0].startswith("test_n")]
    assert sorted(alone) == [["test_alone"], ["test_b"], ["test_one"], ["test_two"]]
    assert len(by_process(run)) <= 4 + 2
    assert set(run.ran.values()) == {1}


def test_the_mark_is_listed(suite: Suite) -> None:
    listed = suite.plain("-p", "braid", "--markers").lines
    (line,) = [line for line in listed if line.startswith("@pytest.mark.forked")]
    assert line.endswith(
        "forked: run this test in a process of its own (pytest-braid: with -n or --forked)."
    )


# --- the same as serial -----------------------------------------------------------------------

SESSION_FIXTURE = """
import pytest
@pytest.fixture(scope="session", autouse=True)
def of_session(tmp_path_factory, record_testsuite_property):
    record_testsuite_property("of", "the session")
    return tmp_path_factory.mktemp("data", numbered=False)
"""

WITH_FIXTURES = """
import logging, warnings, pytest
@pytest.fixture(scope="module")
def of_module(of_session): return [of_session.name]
@pytest.fixture(scope="class", params=["x", "y"])
def of_class(request, of_module): return request.param
class TestIt:
    def test_one(self, of_class): assert of_class == "x"
    def test_two(self, of_class, of_module): print(of_class); assert of_module
def test_path(request):
    path, shared = map(request.getfixturevalue, ("tmp_path", "of_session"))
    (shared / request.module.__name__).touch()
    print(shared); is_there = path.is_dir(); assert not is_there
@pytest.mark.parametrize("n", range(3))
def test_fails(n, of_module, record_property):
    record_property("n", n); logging.warning("logged"); warnings.warn("told"); assert n
@pytest.mark.skip(reason="because")
def test_skips(): pass
@pytest.mark.xfail(reason="known")
def test_xfails(): assert 0
@pytest.fixture
def broken():
    yield
    raise ValueError("teardown")
def test_broken(broken): pass
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "recycled", ["--forked", "--max-tests-per-worker=1", "--max-tests-per-worker=3"]
)
def test_reports_and_junit_file_are_those_of_a_serial_run(
    suite: Suite, recycled: str, workers: int
) -> None:
    suite.conftest(SESSION_FIXTURE)
    suite.write(test_a=WITH_FIXTURES, test_b=WITH_FIXTURES)
    serial, _ = suite.same(workers=workers, ours=(recycled,))
    assert serial.junit is not None
    assert "the session" in serial.junit.read_text()


# --- what ends in a process that retires ------------------------------------------------------


def test_every_process_ends_what_it_has_begun(stage: Stage) -> None:
    stage.write(
        conftest="""
        import atexit
        @pytest.fixture(scope="session", autouse=True)
        def of_session(request, tmp_path_factory):
            tmp_path_factory.mktemp("data", numbered=False)
            request.config.add_cleanup(lambda: note("cleanup"))
            atexit.register(note, "atexit")
            note("up session"); yield; note("down session")
        @pytest.fixture(scope="module", autouse=True)
        def of_module(): note("up module"); yield; note("down module")
        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop(session):
            zygote = os.getpid()
            result = yield
            if os.getpid() != zygote: note("loop left")
            return result
        """,
        test_a=TOLD,
    )
    run = stage.run("--max-tests-per-worker=3", workers=1)
    assert run.exit == 0
    steps = ["up session", "up module", "down module", "down session"]
    steps += ["loop left", "cleanup", "atexit"]
    assert [line for line in run.notes if line in steps] == steps * 4


STANDING = """
from _pytest.runner import runtestprotocol
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, log=True, nextitem=item)
    return True
@pytest.fixture(scope="session", autouse=True)
def of_session():
    note("up"); yield; note("down"); END
"""
"""A plugin that does not look at ``nextitem``: so nothing is torn down before the worker asks."""


def test_what_stands_after_the_last_test_is_torn_down(stage: Stage) -> None:
    stage.write(conftest=STANDING.replace("END", ""), test_a=TOLD)
    run = stage.run("--forked", workers=1)
    assert (run.exit, run.counts) == (0, {"passed": 12})
    assert noted(run, ["up", "down"]) == {"up": 12, "down": 12}


def test_an_error_in_the_last_teardown_ends_the_run(stage: Stage) -> None:
    stage.write(conftest=STANDING.replace("END", "raise ValueError('of the fixture')"), test_a=TOLD)
    run = stage.run("--forked", workers=1)
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "ValueError: of the fixture" in run.text
    assert len(run.ran) == 1


def test_a_process_is_gone_before_another_takes_its_place(stage: Stage) -> None:
    stage.write(
        test_a="""
        import atexit, pathlib
        PID = pathlib.Path("pid")
        def test_a():
            PID.write_text(str(os.getpid()))
            atexit.register(sum, range(10_000_000))
        def test_b(): assert not pathlib.Path("/proc", PID.read_text()).exists()
        """
    )
    run = stage.run("--forked", workers=1)
    assert (run.exit, run.counts) == (0, {"passed": 2})


def test_who_leaves_nothing_behind_leaves_no_directory(stage: Stage) -> None:
    stage.write(
        test_a=TOLD + "\ndef test_path(tmp_path): note('made', tmp_path.parent.name)",
    )
    running = stage.start("--forked", workers=1)
    run = running.end()
    (made,) = (line.split()[1] for line in run.notes if line.startswith("made"))
    (base,) = stage.base.glob("temp-*")
    assert made == "popen-gw0"
    assert {path.name for path in base.glob("popen-gw*")} == {made}


# --- slots ------------------------------------------------------------------------------------

NODES = """
    def pytest_configure_node(node):
        note("configured", node.gateway.id); node.workerinput["made"] = os.getpid()
    def pytest_testnodeready(node): note("ready", node.gateway.id)
    def pytest_testnodedown(node, error):
        output = node.workeroutput
        pids = sorted(key for key in output if key.isdecimal())
        note("down", node.gateway.id, error, len(pids), output.get("finished"))
    @pytest.fixture(autouse=True)
    def leave(request):
        config = request.config
        assert config.workerinput["made"] == os.getppid_of_run
        config.workeroutput[str(os.getpid())] = True
    def pytest_sessionfinish(session):
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["finished"] = True
            note("finish", session.config.workerinput["workerid"])
    os.getppid_of_run = os.getpid()
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_plugins_see_one_node_and_one_session_for_each_slot(stage: Stage, workers: int) -> None:
    stage.write(conftest=NODES, test_a=TOLD)
    run = stage.run("--forked", workers=workers)
    assert run.exit == 0, run.text
    names = [f"gw{n}" for n in range(workers)]
    for word in ("configured", "ready", "finish"):
        assert sorted(line for line in run.notes if line.startswith(word)) == [
            f"{word} {name}" for name in names
        ]
    ends = sorted(line.split() for line in run.notes if line.startswith("down"))
    assert [end[:3] + end[4:] for end in ends] == [["down", n, "None", "True"] for n in names]
    assert sum(int(end[3]) for end in ends) == 12


STOPS = {
    "-x": (pytest.ExitCode.TESTS_FAILED, "", "assert 0"),
    "in the worker": (
        pytest.ExitCode.INTERRUPTED,
        """
    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(item): item.session.shouldstop = "enough"
""",
        "pass",
    ),
    "in the controller": (
        pytest.ExitCode.INTERRUPTED,
        """
    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(session):
        if not hasattr(session.config, "workerinput"): sessions.append(session)
        return (yield)
    def pytest_runtest_logreport(report):
        for session in sessions: session.shouldstop = "enough"
    sessions = []
""",
        "pass",
    ),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_worker_that_a_stop_meets_is_the_last_of_its_slot(stage: Stage, stop: str) -> None:
    code, hooks, body = STOPS[stop]
    stage.write(
        conftest=NODES + hooks,
        test_a=f"def test_a(request): {body}\ndef test_b(): note('ran b')",
    )
    run = stage.run("--forked", "-x", workers=1)
    assert run.exit == code
    assert not run.ran
    assert noted(run, ["finish", "down"]) == {"finish": 1, "down": 1}


def test_the_log_tells_of_every_process(suite: Suite) -> None:
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_n(n): pass"
    )
    log = suite.base / "log"
    suite.braid("--forked", f"--braid-log={log}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = Counter(line["type"] for line in lines)
    assert kinds["StartWorker"] == kinds["WorkerReady"] == kinds["Finished"] == 6
    assert kinds["Retire"] == kinds["WorkerGone"] == 4
    assert kinds["WorkerEnded"] == kinds["Finish"] == 2
    live: set[int] = set()
    slot = {}
    for line in lines:
        match line["type"]:
            case "StartWorker":
                slot[line["worker"]] = line["slot"]
                assert line["slot"] not in live
                live.add(line["slot"])
            case "WorkerGone":
                live.remove(slot[line["worker"]])


# --- limits of failures -----------------------------------------------------------------------


@pytest.mark.parametrize("recycled", ["--forked", "--max-tests-per-worker=2"])
def test_failures_are_counted_over_successors(stage: Stage, recycled: str) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(12))
        def test_n(n): note("ran", n); assert n % 2
        """
    )
    run = stage.run("--maxfail=3", recycled, workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 3, "passed": 2})
    assert sorted(map(int, run.ran)) == [0, 1, 2, 3, 4]
    assert "stopping after 3 failures" in run.text


def test_failures_of_all_slots_and_successors_count(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(40))
        def test_n(n): note("ran", n); assert 0
        """
    )
    run = stage.run("--maxfail=5", "--forked")
    assert run.exit == 1
    # Who begins while another's failure is about to happen is one too many.
    assert 5 <= run.counts["failed"] <= 6


# --- crashes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [["--forked", "--max-worker-restart=0"], []])
def test_a_crash_in_a_process_of_its_own_fails_that_test_alone(
    stage: Stage, args: list[str]
) -> None:
    stage.write(
        test_a=TOLD
        + """
@pytest.mark.forked
@pytest.mark.parametrize("n", range(9))
def test_ends(n):
    print("last words", n)
    os.kill(os.getpid(), signal.SIGSEGV)
"""
    )
    run = stage.run(*args, workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 12, "failed": 9})
    for n in range(9):
        report = run.report(f"test_ends[{n}]")
        assert "its process was killed by signal 11 (SIGSEGV)" in report
        assert f"last words {n}" in report
        assert "Segmentation fault" in report
    assert run.ran == {str(n): 1 for n in range(12)}


def test_replacing_workers_is_no_restart(stage: Stage) -> None:
    stage.write(test_a=TOLD)
    assert stage.run("--max-tests-per-worker=2", "--max-worker-restart=0").exit == 0


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os._exit(0)", "its process ended with exit code 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "its process was killed by signal 9 (SIGKILL"),
    ],
)
def test_a_crash_while_a_worker_retires_is_an_error(stage: Stage, end: str, words: str) -> None:
    stage.write(
        conftest=f"""
        @pytest.fixture(autouse=True)
        def ends(request):
            if request.node.name == "test_n[3]":
                request.config.add_cleanup(lambda: {end})
        """,
        test_a=TOLD,
    )
    run = stage.run("--max-tests-per-worker=2", workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 12, "errors": 1})
    assert (
        "worker 'gw0' crashed after its last test, while it made room for its successor (callbacks "
        f"of config.add_cleanup, hooks around pytest_runtestloop): {words}"
    ) in run.report("ERROR at teardown of test_n[3]")
    assert slots(run) == {"gw0"}


def test_a_crash_in_the_teardown_of_a_session_fixture_fails_the_last_test(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session", autouse=True)
        def of_session(request):
            yield
            os._exit(3)
        """,
        test_a="def test_a(): note('ran a')\ndef test_b(): note('ran b')",
    )
    run = stage.run("--forked", workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 2, "passed": 2})
    assert run.ran == {"a": 1, "b": 1}
    assert "its process ended with exit code 3" in run.report("test_a")


def test_a_cleanup_that_fails_ends_the_run(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(autouse=True)
        def fails(request): request.config.add_cleanup(lambda: 1 / 0)
        """,
        test_a=TOLD,
    )
    run = stage.run("--forked", workers=1)
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "ZeroDivisionError: division by zero" in run.text
    assert len(run.ran) == 1


# --- interrupts -------------------------------------------------------------------------------

HOLDS = """
    @pytest.fixture(scope="session", autouse=True)
    def of_session(request, worker_id):
        if worker_id == "gw0": request.config.add_cleanup(lambda: hold("retiring"))
        note("up"); yield; note("down")
"""


def test_ctrl_c_while_a_worker_retires(stage: Stage) -> None:
    """It has no test any more: nothing is cut short, and it is not interrupted."""
    stage.write(conftest=HOLDS, test_a="def test_a(): note('ran a')\ndef test_b(): note('ran b')")
    run = stage.start("--forked", workers=1, gates=("retiring",))
    run.expect("holding retiring")
    run.send(signal.SIGINT)
    run.release("retiring")
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 1})
    assert ended.ran == {"a": 1}
    assert noted(ended, ["up", "down"]) == {"up": 1, "down": 1}
    assert not ended.section("Interrupted while running")


def test_ctrl_c_at_any_moment_tears_down_and_runs_nothing_twice(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session", autouse=True)
        def of_session():
            try:
                note("up")
                yield
            finally: note("down")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(400))
        def test_n(n): note("ran", n)
        """,
    )
    for count in (2, 11, 30, 57):
        run = stage.start("--forked")
        for _ in islice(run.lines(), count):
            pass
        run.send(signal.SIGINT)
        ended = run.end()
        assert ended.exit == pytest.ExitCode.INTERRUPTED
        assert set(ended.ran.values()) <= {1}
        assert ended.ran or count == 2  # the first two notes may be one "up" of each worker
        found = noted(ended, ["up", "down"])
        assert found["up"] <= found["down"]  # it may have met the fixture before the note
        assert len(ended.ran) < 400


def test_nobody_succeeds_a_worker_after_a_hook_of_the_controller_has_failed(stage: Stage) -> None:
    stage.write(
        conftest=HOLDS
        + """
    def pytest_testnodedown(node, error):
        if error: note("raised"); raise ValueError("of the hook")
""",
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_n(n, worker_id):
            note("ran", n)
            if worker_id == "gw1":
                hold("crash")
                os._exit(1)
        """,
    )
    run = stage.start("--forked", gates=("retiring", "crash"))
    run.expect("holding retiring", "holding crash")
    run.release("crash")
    run.expect("raised")
    run.release("retiring")
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERNAL_ERROR
    assert "ValueError: of the hook" in ended.text
    assert len(ended.ran) == 2


# --- beside pytest-forked ---------------------------------------------------------------------

ITS_PLUGIN = """
import pytest
def pytest_addoption(parser):
    group = parser.getgroup("forked", "forked subprocess test execution")
    group.addoption("--forked", action="store_true", dest="forked", default=False)
def pytest_load_initial_conftests(early_config, parser, args):
    early_config.addinivalue_line("markers", "forked: Always fork for this test.")
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if item.config.getvalue("forked") or item.get_closest_marker("forked"):
        print("by pytest-forked", item.name)
        item.user_properties.append(("by", "pytest-forked"))
"""
"""As far as it meets us: the option, the mark, and when it acts."""


@pytest.mark.parametrize("order", ["braid pytest_forked", "pytest_forked braid"])
@pytest.mark.parametrize(
    ("args", "who"),
    [
        ("-n2 --forked", "braid"),
        ("--forked", "braid"),
        ("-n2", "braid"),
        ("-n0 --forked", "pytest-forked"),
        ("", "pytest-forked"),
        ("-p no:braid --forked", "pytest-forked"),
    ],
)
def test_with_workers_the_option_and_the_mark_of_pytest_forked_are_ours(
    suite: Suite, order: str, args: str, who: str
) -> None:
    suite.plugin("pytest_forked", ITS_PLUGIN)
    suite.plugins = ()
    suite.write(
        test_a="""
        import os, pytest
        @pytest.mark.forked
        def test_1(record_property): record_property("pid", os.getpid())
        @pytest.mark.forked
        def test_2(record_property): record_property("pid", os.getpid())
        """
    )
    loaded = [word for name in order.split() for word in ("-p", name)]
    run = suite.plain(*loaded, "--strict-markers", *args.split())
    assert run.exit == 0, run.text + run.errors
    found = [dict(f["user_properties"]) for f in run.told("logreport") if f["when"] == "call"]
    assert {facts.get("by", "braid") for facts in found} == {who}
    assert len({facts["pid"] for facts in found}) == (2 if who == "braid" else 1)


def test_this_process_is_none_of_those(suite: Suite) -> None:
    suite.write(test_a="import os\ndef test_1(record_property): record_property('in', os.getpid())")
    assert str(os.getpid()) not in str(suite.plain("-p", "braid", "--forked").record)
