"""The options: what they accept, what they do, and when nothing at all is started."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from tests.e2e.serial import Run, Suite, differences

WHERE = """
import os, pytest
@pytest.fixture(autouse=True)
def told(record_property, worker_id):
    record_property("worker", worker_id)
    record_property("pid", os.getpid())
@pytest.mark.parametrize("n", range(12))
def test_1(n): pass
"""


@pytest.fixture
def told(suite: Suite) -> Suite:
    """A suite of twelve tests that tell which worker and which process run them."""
    suite.write(test_where=WHERE)
    return suite


def properties(run: Run, name: str) -> set[object]:
    return {
        value
        for facts in run.told("logreport")
        for key, value in facts["user_properties"]
        if key == name
    }


def workers_line(run: Run) -> str | None:
    return next((line for line in run.lines if " worker" in line and line.endswith("]")), None)


# --- how many workers -------------------------------------------------------------------------


def test_as_many_workers_as_asked_for(told: Suite) -> None:
    run = told.braid(workers=3)
    assert workers_line(run) == "3 workers [12 items]"
    assert properties(run, "worker") <= {"gw0", "gw1", "gw2"}
    assert len(properties(run, "pid")) == len(properties(run, "worker")) > 1


def test_one_worker_is_a_process_too(told: Suite) -> None:
    run = told.braid(workers=1)
    assert workers_line(run) == "1 worker [12 items]"
    assert properties(run, "worker") == {"gw0"}


def test_never_more_workers_than_tests(told: Suite) -> None:
    run = told.braid("-k", "test_1 and 3", workers=5)
    assert workers_line(run) == "1 worker [1 item]"
    assert properties(run, "worker") == {"gw0"}


def test_no_worker_at_all_with_0(told: Suite) -> None:
    serial, run = told.plain("-p", "braid"), told.braid(workers=0)
    assert properties(run, "worker") == {"master"}
    assert run.outcomes == serial.outcomes
    assert workers_line(run) is None
    assert "[gw0]" not in run.text


@pytest.mark.parametrize(
    ("args", "env", "workers"),
    [
        ("-n auto", {"PYTEST_XDIST_AUTO_NUM_WORKERS": "3"}, 3),
        ("-n logical", {"PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}, 2),
        ("-n auto --maxprocesses=2", {"PYTEST_XDIST_AUTO_NUM_WORKERS": "7"}, 2),
        ("-n 6 --maxprocesses 2", {}, 2),
        ("-n 2 --maxprocesses 6", {}, 2),
        ("-n auto", {"PYTHON_CPU_COUNT": "1"}, 1),
        ("-n logical", {"PYTHON_CPU_COUNT": "1"}, 1),
        ("-n auto", {"PYTHON_CPU_COUNT": "1", "PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}, 2),
        ("--numprocesses=2", {}, 2),
        ("-n2 --dist=no", {}, 2),
        ("-n2 --dist=worksteal", {}, 2),
        ("", {"PYTEST_ADDOPTS": "-n 2"}, 2),
        ("", {"PYTEST_ADDOPTS": "'-n 2'"}, 2),
    ],
)
def test_the_number_of_workers(told: Suite, args: str, env: dict[str, str], workers: int) -> None:
    told.env.update(env)
    run = told.plain("-p", "braid", *args.split())
    noun = "worker" if workers == 1 else "workers"
    assert workers_line(run) == f"{workers} {noun} [12 items]"
    assert run.exit == 0


def test_auto_is_not_more_than_the_affinity_allows(told: Suite) -> None:
    cpu = min(os.sched_getaffinity(0))
    told.conftest(f"import os\nos.sched_setaffinity(0, [{cpu}])")
    assert workers_line(told.braid(workers="auto")) == "1 worker [12 items]"
    assert workers_line(told.braid(workers="logical")) == "1 worker [12 items]"


def test_a_plugin_may_say_what_auto_means(told: Suite) -> None:
    told.conftest(
        """
        def pytest_xdist_auto_num_workers(config):
            return {"auto": 3, "logical": 2}[config.option.numprocesses]
        """
    )
    told.env["PYTEST_XDIST_AUTO_NUM_WORKERS"] = "1"
    assert workers_line(told.braid(workers="auto")) == "3 workers [12 items]"
    assert workers_line(told.braid(workers="logical")) == "2 workers [12 items]"
    assert workers_line(told.braid(workers=1)) == "1 worker [12 items]"


def test_a_plugin_may_say_that_auto_means_none(told: Suite) -> None:
    told.conftest("def pytest_xdist_auto_num_workers(config): return 0")
    assert properties(told.braid(workers="auto"), "worker") == {"master"}


def test_a_number_in_the_environment_that_is_none_is_ignored_with_a_warning(told: Suite) -> None:
    told.env.update({"PYTEST_XDIST_AUTO_NUM_WORKERS": "many", "PYTHON_CPU_COUNT": "1"})
    run = told.braid(workers="auto")
    assert workers_line(run) == "1 worker [12 items]"
    assert "PYTEST_XDIST_AUTO_NUM_WORKERS is not a number: 'many'. Ignoring it." in (
        run.text + run.errors
    )


def test_options_may_come_from_the_configuration(told: Suite) -> None:
    told.ini("addopts = -p braid -n 2 --dist=worksteal")
    assert workers_line(told.plain()) == "2 workers [12 items]"
    assert workers_line(told.plain("-n", "1")) == "1 worker [12 items]"
    assert properties(told.plain("-n0"), "worker") == {"master"}


@pytest.mark.parametrize("args", [[], ["--dist=load"], ["--maxprocesses=3"], ["--testrunuid=x"]])
def test_without_a_number_everything_runs_in_this_process(told: Suite, args: list[str]) -> None:
    run = told.plain("-p", "braid", *args)
    assert properties(run, "worker") == {"master"}
    assert run.exit == 0


# --- bad values -------------------------------------------------------------------------------


ALLOWED = (
    "give 'auto' (a worker per core), 'logical' (one per logical CPU), 'adaptive' "
    "(more while tests wait), or a number; 0 runs "
    "everything in this process"
)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("-n many", "argument -n/--numprocesses: 'many' is not a number of workers: " + ALLOWED),
        ("-n -1", "argument -n/--numprocesses: '-1' is not a number of workers: "),
        ("-n 1.5", "argument -n/--numprocesses: '1.5' is not a number of workers: "),
        ("-n2 --maxprocesses=x", "argument --maxprocesses: 'x' is not a whole number of 0 or more"),
        (
            "-n2 --max-worker-restart=-1",
            "argument --max-worker-restart: '-1' is not a whole number of 0 or more",
        ),
        (
            "-n2 --max-tests-per-worker=0",
            "argument --max-tests-per-worker: '0' is not a whole number of 1 or more",
        ),
        ("-n2 --dist=all", "argument --dist: invalid choice: 'all' (choose from "),
        (
            "-n2 --pdb",
            "--pdb is incompatible with distributing tests; try using -n0 or -nauto.",
        ),
    ],
)
def test_a_bad_value_is_a_usage_error_that_says_what_is_allowed(
    told: Suite, args: str, message: str
) -> None:
    run = told.plain("-p", "braid", *args.split())
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert message in run.errors
    assert "Traceback" not in run.errors
    assert not run.told("logreport")


# --- when no process is started ---------------------------------------------------------------

ONLY_ONE_PROCESS = """
import os
def pytest_configure(config):
    with open(LOG, "a") as file: file.write(f"{os.getpid()}\\n")
real = os.fork
def fork():
    with open(LOG, "a") as file: file.write("forked\\n")
    return real()
os.fork = fork
"""


@pytest.mark.parametrize(
    "args",
    [
        "--co",
        "--collect-only -q",
        "--fixtures",
        "--fixtures-per-test",
        "--markers",
        "--help",
        "--version",
        "-VV",
        "--setup-plan",
        "--setup-only",
        "--setup-show",
        "--cache-show",
        "--trace-config --co",
    ],
)
def test_what_only_looks_starts_no_process_and_prints_as_serial(told: Suite, args: str) -> None:
    log = told.base / "processes"
    told.conftest(f"LOG = {str(log)!r}" + ONLY_ONE_PROCESS)
    run = told.braid(*args.split())
    lines = log.read_text().split() if log.exists() else []
    assert "forked" not in lines
    assert len(lines) <= 1
    if args != "--help" and "trace" not in args and not args.startswith("-V"):
        shutil.rmtree(told.path / ".pytest_cache", ignore_errors=True)
        serial = told.plain("-p", "braid", *args.split())
        steady = [line for line in run.lines if " in " not in line]
        assert steady == [line for line in serial.lines if " in " not in line]
    assert run.exit == 0


def test_pdb_with_an_automatic_number_runs_in_this_process(told: Suite) -> None:
    told.write(test_fails="def test_1(worker_id):\n    there = 3\n    assert worker_id == 'gw0'")
    for args in (["-n", "auto"], ["-n", "logical"], ["-n0"]):
        stdin = b"p there + 4\nq\n"
        run = told.plain("-p", "braid", "--pdb", *args, "test_fails.py", stdin=stdin)
        assert "7" in [line.removeprefix("(Pdb) ").strip() for line in run.lines], args
        assert run.exit == pytest.ExitCode.INTERRUPTED


def test_pdb_without_a_number_is_none_of_ours(told: Suite) -> None:
    assert told.plain("-p", "braid", "--pdb").exit == 0


@pytest.mark.parametrize(
    "debugger",
    ["sys.settrace(lambda *args: None)", "sys.monitoring.use_tool_id(0, 'a debugger')"],
)
def test_with_a_debugger_attached_everything_runs_in_this_process(
    told: Suite, debugger: str
) -> None:
    if "monitoring" in debugger and sys.version_info < (3, 12):
        pytest.skip("Python 3.12 brought sys.monitoring")
    told.conftest(f"import sys\n{debugger}")
    assert properties(told.braid(), "worker") == {"master"}


@pytest.mark.parametrize("off", ["debugging", "cacheprovider", "stepwise", "setuponly"])
def test_plugins_of_pytest_may_be_switched_off(told: Suite, off: str) -> None:
    run = told.braid("-p", f"no:{off}")
    assert run.exit == 0
    assert len(run.outcomes) == 12
    assert properties(run, "worker") <= {"gw0", "gw1"}


# --- the other options ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["load", "worksteal"])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_mode_runs_every_test_once(told: Suite, mode: str, workers: int) -> None:
    told.write(
        test_more="import pytest\n@pytest.mark.parametrize('n', range(99))\ndef test_1(n): assert n"
    )
    serial = told.serial("test_more.py")
    braid = told.braid(f"--dist={mode}", "test_more.py", workers=workers)
    assert not differences(serial, braid)


def test_the_identifier_of_the_run(told: Suite) -> None:
    told.write(
        test_uid="""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_1(testrun_uid, record_property, n):
            assert testrun_uid == os.environ.get("PYTEST_XDIST_TESTRUNUID", testrun_uid)
            record_property("uid", testrun_uid)
        """
    )
    assert properties(told.braid("--testrunuid=mine", "test_uid.py"), "uid") == {"mine"}
    random = [properties(told.braid("test_uid.py"), "uid") for _ in range(2)]
    assert len(random[0]) == len(random[1]) == 1
    assert random[0] != random[1]
    assert properties(told.plain("-p", "braid", "--testrunuid=x", "test_uid.py"), "uid") == {"x"}


def test_the_log_has_a_line_for_every_event(told: Suite) -> None:
    log = told.base / "deep" / "events.jsonl"
    told.braid(f"--braid-log={log}", "--testrunuid=mine")
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds[-1]) == ("RunStarted", "RunEnded")
    assert (events[0]["run"], events[0]["workers"], events[0]["mode"]) == ("mine", 2, "load")
    nodeids = next(event["nodeids"] for event in events if event["type"] == "TestsCollected")
    assert nodeids == [f"test_where.py::test_1[{n}]" for n in range(12)]
    for kind, count in {"Started": 12, "Finished": 12, "Reported": 36, "WorkerReady": 2}.items():
        assert kinds.count(kind) == count, kind
    assert sorted(event["test"] for event in events if event["type"] == "Finished") == [*range(12)]
    assert events[-1]["unfinished"] == []
    assert all(event["at"] > 0 for event in events)


def test_the_log_is_written_only_where_asked_for(told: Suite) -> None:
    before = {*told.path.rglob("*")}
    told.braid("-p", "no:cacheprovider")
    assert {path.name for path in {*told.path.rglob("*")} - before} <= {"stdout", "stderr"}


def test_the_help_names_every_option(told: Suite) -> None:
    text = told.plain("-p", "braid", "--help").text
    for option in (
        "-n",
        "--numprocesses",
        "--maxprocesses",
        "--max-worker-restart",
        "--dist",
        "-d ",
        "--tx",
        "--loadscope-reorder",
        "--no-loadscope-reorder",
        "--maxschedchunk",
        "--start-method",
        "--testrunuid",
        "--braid-log",
    ):
        assert option in text


def test_stepwise_takes_one_worker_and_says_so(told: Suite) -> None:
    run = told.braid("--sw", workers=3)
    assert "braid: --stepwise stops at the first failure in order: one worker" in run.lines
    assert workers_line(run) == "1 worker [12 items]"
