"""The hook ledger: which hook runs in which process, how often, and in which order.

What starts in the controller ends there, what starts in the zygote ends in the zygote, once, after
the last worker; a worker ends what belongs to the tests.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.serial import Suite

LEDGER = """
import atexit, os, pytest, tempfile, weakref
LOG = os.environ["LEDGER_LOG"]
ROLES = {}

def role():
    return ROLES.get(os.getpid()) or os.environ.get("PYTEST_XDIST_WORKER", "unknown")

def log(what):
    with open(LOG, "a") as file: file.write(f"{role()} {what}\\n")

ROLES[os.getpid()] = "controller"
log("import")
atexit.register(log, "atexit of import")

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        ROLES[os.getpid()] = "zygote"
    log("configure")
    config.add_cleanup(lambda: log("cleanup"))
    atexit.register(log, "atexit of configure")
    config.finalized = tempfile.TemporaryDirectory()
    weakref.finalize(config.finalized, log, "finalizer of configure")

def pytest_sessionstart(session): log("sessionstart")
def pytest_report_header(config): log("report_header")
def pytest_collection(session): log("collection")
def pytest_collection_modifyitems(items): log("modifyitems")
def pytest_collection_finish(session): log("collection_finish")
def pytest_deselected(items): log(f"deselected {len(items)}")
def pytest_report_collectionfinish(): log("report_collectionfinish")
def pytest_make_collect_report(collector):
    if isinstance(collector, pytest.Module): log("make_collect_report")
def pytest_runtest_logstart(nodeid): log(f"logstart {nodeid[-2:-1]}")
def pytest_runtest_setup(item): log(f"setup {item.name[-2:-1]}")
def pytest_runtest_call(item): log(f"call {item.name[-2:-1]}")
def pytest_runtest_teardown(item): log(f"teardown {item.name[-2:-1]}")
def pytest_runtest_logreport(report):
    if report.when == "call": log(f"logreport {report.nodeid[-2:-1]}")
def pytest_runtest_logfinish(nodeid): log(f"logfinish {nodeid[-2:-1]}")
def pytest_sessionfinish(session): log("sessionfinish")
def pytest_terminal_summary(): log("terminal_summary")
def pytest_unconfigure(config): log("unconfigure")

@pytest.fixture(scope="session", autouse=True)
def resource():
    log("session fixture up")
    yield
    log("session fixture down")
"""

SUITE = """
import atexit, os, pytest
from ledger import log
atexit.register(log, "atexit of module")
@pytest.mark.parametrize("n", range(6))
def test_1(n):
    if n == 0: atexit.register(log, "atexit of test")
    if n == int(os.environ.get("CRASHES", 9)): os._exit(1)
"""


@pytest.fixture
def ledger(suite: Suite) -> Path:
    """A suite whose every hook writes a line to this file."""
    suite.plugin("ledger", LEDGER)
    suite.write(test_ledger=SUITE)
    log = suite.base / "ledger"
    suite.env["LEDGER_LOG"] = str(log)
    return log


def entries(log: Path) -> list[tuple[str, str]]:
    """(role, what) of each line, in order."""
    return [
        (role, what) for role, _, what in (x.partition(" ") for x in log.read_text().splitlines())
    ]


def per_role(log: Path) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for role, what in entries(log):
        found.setdefault(role, Counter())[what] += 1
    return found


ONCE_IN_CONTROLLER = {
    "import",
    "configure",
    "sessionstart",
    "report_header",
    "deselected 1",
    "sessionfinish",
    "terminal_summary",
    "unconfigure",
    "cleanup",
    "atexit of import",
    "atexit of configure",
    "finalizer of configure",
}
ONCE_IN_ZYGOTE = {
    "configure",
    "sessionstart",
    "collection",
    "make_collect_report",
    "modifyitems",
    "collection_finish",
    "report_collectionfinish",
    "deselected 1",
    "unconfigure",
    "cleanup",
    "atexit of configure",
    "atexit of module",
    "finalizer of configure",
}
ONCE_IN_WORKER = {"session fixture up", "session fixture down", "sessionfinish"}
OF_A_TEST = ("logstart", "setup", "call", "teardown", "logreport", "logfinish")
REPORTED = ("logstart", "logreport", "logfinish")


def test_every_hook_runs_where_and_as_often_as_the_ledger_says(suite: Suite, ledger: Path) -> None:
    run = suite.braid("--deselect=test_ledger.py::test_1[5]")
    assert run.exit == 0
    seen = per_role(ledger)
    assert seen.keys() <= {"controller", "zygote", "gw0", "gw1"}
    tests = [f"{hook} {n}" for hook in REPORTED for n in range(5)]
    assert seen["controller"] == Counter([*ONCE_IN_CONTROLLER, *tests])
    assert seen["zygote"] == Counter(ONCE_IN_ZYGOTE)
    every = [f"{hook} {n}" for hook in OF_A_TEST for n in range(5)]
    workers = seen["gw0"] + seen["gw1"]
    for name in seen.keys() - {"controller", "zygote"}:
        assert seen[name]["sessionfinish"] == 1, name
        # a worker that was late finds all tests taken, and has no fixture to set up
        has_run = bool(seen[name].keys() & set(every))
        for what in ("session fixture up", "session fixture down"):
            assert seen[name][what] == has_run, (name, what)
    del workers["session fixture up"], workers["session fixture down"], workers["sessionfinish"]
    assert workers == Counter([*every, "atexit of test"])


def test_hooks_of_a_run_without_tests_are_those_of_one_worker(suite: Suite, ledger: Path) -> None:
    suite.braid("-k", "nothing")
    seen = per_role(ledger)
    assert seen.keys() == {"controller", "zygote"}
    assert seen["zygote"]["sessionfinish"] == seen["controller"]["sessionfinish"] == 1
    for what in ("unconfigure", "cleanup", "atexit of configure", "finalizer of configure"):
        assert seen["zygote"][what] == seen["controller"][what] == 1, what


def test_a_crashed_worker_ends_nothing_and_its_successor_ends_the_session(
    suite: Suite, ledger: Path
) -> None:
    suite.env["CRASHES"] = "2"
    assert suite.braid(workers=1).exit == 1
    seen = per_role(ledger)
    crashed, successor = seen["gw0"], seen["gw1"]
    for what in ("session fixture down", "sessionfinish", "unconfigure", "atexit of test"):
        assert crashed[what] == 0, what
    assert crashed["session fixture up"] == 1
    for what in ONCE_IN_WORKER:
        assert successor[what] == 1, what
    assert seen["zygote"] == Counter(ONCE_IN_ZYGOTE - {"deselected 1"})


def test_what_started_in_the_zygote_ends_there_after_the_last_worker(
    suite: Suite, ledger: Path
) -> None:
    suite.braid()
    order = entries(ledger)
    workers = [n for n, (role, _) in enumerate(order) if role.startswith("gw")]
    ends = {what: n for n, (role, what) in enumerate(order) if role == "zygote"}
    assert max(workers) < ends["unconfigure"] < ends["cleanup"] < ends["atexit of module"]
    assert ends["cleanup"] < ends["finalizer of configure"]
    # and the controller's own order is that of a serial run
    mine = [what for role, what in order if role == "controller" and what in ONCE_IN_CONTROLLER]
    ledger.unlink()
    suite.serial()
    serial = [what for _, what in entries(ledger) if what in ONCE_IN_CONTROLLER]
    assert mine == [what for what in serial if what in mine]


def test_after_a_failure_to_collect_everything_is_unconfigured(suite: Suite, ledger: Path) -> None:
    suite.write(test_bad="import nowhere")
    assert suite.braid().exit == pytest.ExitCode.INTERRUPTED
    seen = per_role(ledger)
    assert seen.keys() == {"controller", "zygote"}
    for what in ("unconfigure", "cleanup", "atexit of configure", "sessionfinish"):
        assert seen["zygote"][what] == seen["controller"][what] == 1, what


def test_after_an_interrupt_every_fixture_and_hook_is_ended(suite: Suite, ledger: Path) -> None:
    suite.write(test_ledger=SUITE + "    if n == 3: raise KeyboardInterrupt\n")
    assert suite.braid().exit == pytest.ExitCode.INTERRUPTED
    seen = per_role(ledger)
    for worker in seen.keys() - {"controller", "zygote"}:
        assert seen[worker]["session fixture up"] == seen[worker]["session fixture down"], worker
        assert seen[worker]["sessionfinish"] == 1, worker
    for what in ("unconfigure", "cleanup", "atexit of configure", "finalizer of configure"):
        assert seen["zygote"][what] == seen["controller"][what] == 1, what


def test_a_hook_that_ends_badly_in_the_zygote_is_told(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"):
                raise ValueError("cannot be unconfigured")
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass")
    run = suite.braid()
    assert "ValueError: cannot be unconfigured" in run.text + run.errors
    assert run.exit != 0


def test_a_cleanup_that_fails_is_told(suite: Suite) -> None:
    suite.conftest(
        """
        def fail(): raise ValueError("cannot be cleaned")
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.add_cleanup(fail)
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass")
    run = suite.braid()
    assert "ValueError: cannot be cleaned" in run.text + run.errors
    assert run.exit != 0


# --- what projects do with them ---------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        "config.made = tempfile.mkdtemp(dir=BASE)",
        "config.made = os.path.join(BASE, 'fixed'); os.makedirs(config.made, exist_ok=True)",
    ],
)
def test_a_directory_of_configure_is_there_for_every_test_and_gone_at_the_end(
    suite: Suite, make: str
) -> None:
    base = suite.base / "made"
    base.mkdir()
    suite.conftest(
        f"""
        import os, shutil, tempfile
        BASE = {str(base)!r}
        def pytest_configure(config):
            {make}
        def pytest_unconfigure(config):
            shutil.rmtree(config.made, ignore_errors=True)
        """
    )
    suite.write(
        test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(20))
        def test_1(pytestconfig, n):
            assert os.path.isdir(pytestconfig.made)
            with open(os.path.join(pytestconfig.made, str(n)), "w"): pass
        """
    )
    suite.same()
    assert [*base.iterdir()] == []


@pytest.mark.parametrize("start", ["--start-method=fork", "--start-method=spawn"])
def test_nothing_is_configured_before_the_controller_is(suite: Suite, start: str) -> None:
    """Or one of the two could fail at what both make if it is not there."""
    suite.conftest(
        f"""
        import os, time
        MADE = {str(suite.base / "made")!r}
        def pytest_configure(config):
            if os.path.isdir(MADE): return
            time.sleep(0.2)
            os.makedirs(MADE)
        """
    )
    suite.write(test_a="def test_1(): pass")
    run = suite.braid(start)
    assert run.exit == 0, run.text


def test_what_only_the_controller_makes_reaches_the_workers(suite: Suite) -> None:
    base = suite.base / "made"
    base.mkdir()
    suite.conftest(
        f"""
        import os, shutil, tempfile
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.made = config.workerinput["made"]
            else:
                config.made = tempfile.mkdtemp(dir={str(base)!r})
        def pytest_configure_node(node):
            node.workerinput["made"] = node.config.made
        def pytest_unconfigure(config):
            if not hasattr(config, "workerinput"):
                os.rmdir(config.made)
        """
    )
    suite.write(
        test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(20))
        def test_1(pytestconfig, n): assert os.path.isdir(pytestconfig.made)
        """
    )
    assert suite.braid().exit == 0
    assert [*base.iterdir()] == []


def test_temporary_directories_of_modules_live_until_the_last_test(suite: Suite) -> None:
    base = suite.base / "made"
    base.mkdir()
    suite.write(
        test_a=f"""
        import atexit, os, shutil, tempfile, pytest
        WITH_FINALIZER = tempfile.TemporaryDirectory(dir={str(base)!r})
        WITH_ATEXIT = tempfile.mkdtemp(dir={str(base)!r})
        atexit.register(shutil.rmtree, WITH_ATEXIT)
        @pytest.mark.parametrize("n", range(20))
        def test_1(n):
            assert os.path.isdir(WITH_FINALIZER.name)
            assert os.path.isdir(WITH_ATEXIT)
        """
    )
    suite.same()
    assert [*base.iterdir()] == []


def test_a_resource_of_the_session_hooks_is_ended_as_often_as_it_is_started(suite: Suite) -> None:
    """Refused until workers can be spawned, or as in a serial run: never ended once per worker."""
    log = suite.base / "session"
    suite.conftest(
        f"""
        def note(word):
            with open({str(log)!r}, "a") as file: file.write(word + "\\n")
        def pytest_sessionstart(session):
            if hasattr(session.config, "workerinput"): note("start")
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"): note("finish")
        """
    )
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_1(n): pass"
    )
    run = suite.braid()
    words = log.read_text().split()
    assert words.count("start") == words.count("finish")
    assert run.exit == 0 or "pytest_sessionstart" in run.errors + run.text


def test_the_controller_has_a_manager_of_fixtures_for_who_asks(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_sessionstart(session):
            assert session._fixturemanager.session is session

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            assert session.config.pluginmanager.get_plugin("funcmanage") is session._fixturemanager
        """
    )
    suite.write(test_a="def test_a(): pass")
    suite.same()


def test_fixtures_of_plugins_that_come_with_the_session_are_found_as_in_a_serial_run(
    suite: Suite,
) -> None:
    suite.conftest(
        """
        import pytest
        class Late:
            @pytest.fixture
            def late(self): return "late"
            @pytest.fixture
            def both(self): return "late"
        class Early:
            @pytest.fixture
            def both(self): return "early"
        def pytest_configure(config): config.pluginmanager.register(Early())
        def pytest_sessionstart(session): session.config.pluginmanager.register(Late())
        """
    )
    suite.write(
        test_a="""
        def test_late(late): assert late == "late"
        def test_both(both, record_property): record_property("from", both)
        """
    )
    suite.same()
