"""How a run ends: its exit code, what ended it, and what the terminal says of it."""

from __future__ import annotations

import gc

import pytest

from tests.e2e.serial import Run, Suite

PASSING = "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass"


def last_line(run: Run) -> str:
    return next(line for line in reversed(run.lines) if line.strip())


@pytest.mark.parametrize(
    ("source", "args", "code"),
    [
        (PASSING, [], pytest.ExitCode.OK),
        ("def test_1(): assert 0", [], pytest.ExitCode.TESTS_FAILED),
        ("import nowhere", [], pytest.ExitCode.INTERRUPTED),
        ("def test_1(): raise KeyboardInterrupt", [], pytest.ExitCode.INTERRUPTED),
        (PASSING, ["--no-such-option"], pytest.ExitCode.USAGE_ERROR),
        (PASSING, ["nowhere.py"], pytest.ExitCode.USAGE_ERROR),
        (PASSING, ["test_a.py::test_nothing"], pytest.ExitCode.USAGE_ERROR),
        (PASSING, ["-k", "nothing"], pytest.ExitCode.NO_TESTS_COLLECTED),
        ("x = 1", [], pytest.ExitCode.NO_TESTS_COLLECTED),
        ("import pytest\ndef test_1(): pytest.exit('enough', 77)", [], 77),
    ],
)
def test_the_exit_code_is_that_of_a_serial_run(
    suite: Suite, source: str, args: list[str], code: int
) -> None:
    suite.write(test_a=source)
    serial, _ = suite.same(*args)
    assert serial.exit == code


def test_a_hook_may_change_the_exit_code(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_sessionfinish(session, exitstatus):
            session.exitstatus = 42
        """
    )
    suite.write(test_a=PASSING)
    suite.same()


ENDINGS = {
    "exit": "pytest.exit('enough')",
    "exit with a code": "pytest.exit('enough', 9)",
    "exit with a failing code": "pytest.exit(reason='a\\nb', returncode=1)",
    "keyboard": "raise KeyboardInterrupt",
    "keyboard with a text": "raise KeyboardInterrupt('text')",
    "system exit": "raise SystemExit(5)",
}


PLACES = [
    "fixture setup",
    "fixture teardown",
    "module fixture",
    "import",
    "conftest import",
    "runtest hook",
    "collection hook",
    "parametrization",
]


WIDELY = ("exit with a code", "keyboard with a text", "system exit")

INTERNAL = {
    *((place, "system exit") for place in ("import", "collection hook", "parametrization")),
}
"""What pytest does not expect: it ends with a traceback, which tells of the frames of plugins."""


@pytest.mark.parametrize(
    ("start", "place", "how"),
    [
        *(("fork", "test", how) for how in ENDINGS),
        *(("fork", place, how) for place in PLACES for how in WIDELY),
        *(("spawn", "test", how) for how in WIDELY),
        *(("spawn", place, WIDELY[n % 3]) for n, place in enumerate(PLACES)),
    ],
)
def test_an_interruption_anywhere_ends_the_run_as_serial(
    suite: Suite, start: str, place: str, how: str
) -> None:
    ending = ENDINGS[how]
    suite.write(
        test_a=f"""
        import pytest
        PLACE = {place!r}
        def end(place):
            if place == PLACE:
                {ending}
        end("import")
        @pytest.fixture
        def fixture():
            end("fixture setup")
            yield
            end("fixture teardown")
        @pytest.fixture(scope="module")
        def of_module():
            end("module fixture")
        def pytest_generate_tests(metafunc):
            end("parametrization")
        def test_before(): print("before")
        def test_ends(fixture, of_module):
            print("about to end")
            end("test")
        def test_after(): pass
        """
    )
    suite.conftest(
        f"""
        import pytest
        PLACE = {place!r}
        def end(place):
            if place == PLACE:
                {ending}
        end("conftest import")
        def pytest_runtest_setup(item):
            if item.name == "test_ends":
                end("runtest hook")
        def pytest_collection_modifyitems():
            end("collection hook")
        """
    )
    if (place, how) not in INTERNAL:
        suite.same(workers=1, ours=(f"--start-method={start}",))
    else:
        serial, braid = suite.serial(), suite.braid(f"--start-method={start}", workers=1)
        assert braid.exit == serial.exit
        said = "SystemExit: 5" if how == "system exit" else "KeyboardInterrupt: text"
        assert said in serial.text + serial.errors
        assert said in braid.text + braid.errors


def test_an_interrupted_run_names_place_and_tears_down(suite: Suite) -> None:
    log = suite.base / "log"
    suite.write(
        test_a=f"""
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def resource():
            yield
            with open({str(log)!r}, "a") as file: file.write("down ")
        def test_1(): raise KeyboardInterrupt
        """,
        test_b="def test_2(): pass",
    )
    _, braid = suite.same(workers=1)
    assert log.read_text() == "down down "
    assert "!!! KeyboardInterrupt !!!" in braid.text
    assert "test_a.py:6: KeyboardInterrupt" in braid.text


def test_the_run_is_over_when_one_worker_exits(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(20))
        def test_1(n):
            if n == 3: pytest.exit("enough")
        """
    )
    braid = suite.braid(workers=4)
    assert braid.exit == pytest.ExitCode.INTERRUPTED
    assert "!!! _pytest.outcomes.Exit: enough !!!" in braid.text
    assert "failed" not in braid.text
    assert "Traceback" not in braid.text + braid.errors


@pytest.mark.parametrize("scope", ["session", "module", "class", "function"])
def test_an_error_in_the_last_teardown_is_reported_with_the_test(suite: Suite, scope: str) -> None:
    suite.write(
        test_a=f"""
        import pytest
        @pytest.fixture(scope={scope!r})
        def breaks():
            yield
            print("about to break")
            raise ValueError("at the end")
        class Test:
            def test_1(self, breaks): pass
            def test_2(self): pass
        """
    )
    suite.same("-rA", workers=1)


def test_an_error_in_a_session_fixtures_teardown_fails_the_run(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def breaks():
            yield
            raise ValueError("at the end")
        @pytest.mark.parametrize("n", range(10))
        def test_1(n): pass
        """
    )
    serial, braid = suite.serial(), suite.braid()
    assert serial.exit == braid.exit == 1
    assert sum("failed" in outcome for outcome in serial.outcomes.values()) == 1
    assert 1 <= sum("failed" in outcome for outcome in braid.outcomes.values()) <= 2
    assert braid.outcomes.keys() == serial.outcomes.keys()


HOOKS = [
    "pytest_configure(config)",
    "pytest_sessionstart(session)",
    "pytest_report_header(config)",
    "pytest_collection(session)",
    "pytest_collection_modifyitems(items)",
    "pytest_collection_finish(session)",
    "pytest_collectreport(report)",
    "pytest_itemcollected(item)",
    "pytest_runtest_protocol(item)",
    "pytest_runtest_logstart(nodeid)",
    "pytest_runtest_setup(item)",
    "pytest_runtest_makereport(item)",
    "pytest_runtest_logreport(report)",
    "pytest_runtest_logfinish(nodeid)",
    "pytest_sessionfinish(session)",
    "pytest_terminal_summary(terminalreporter)",
    "pytest_unconfigure(config)",
    "pytest_warning_recorded(nodeid)",
    "pytest_fixture_setup(fixturedef)",
    "pytest_report_teststatus(report)",
    "pytest_assertrepr_compare(op)",
    "pytest_make_parametrize_id(val)",
    "pytest_generate_tests(metafunc)",
    "pytest_pycollect_makeitem(name)",
    "pytest_ignore_collect(collection_path)",
    "pytest_report_collectionfinish(items)",
    "pytest_report_to_serializable(report)",
]


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_in_a_hook_ends_the_run_with_the_serial_exit_code_and_is_shown(
    suite: Suite, hook: str
) -> None:
    suite.conftest(f"def {hook}:\n    raise ValueError('the hook broke')")
    suite.write(
        test_a="""
        import warnings, pytest
        @pytest.fixture
        def fixture(): pass
        @pytest.mark.parametrize("n", [1])
        def test_1(fixture, n): warnings.warn("w")
        def test_2(): assert 1 == 2
        """
    )
    serial, braid = suite.serial(), suite.braid()
    if "serializable" in hook:  # nobody calls it in a serial run
        assert braid.exit != 0
    else:
        assert braid.exit == serial.exit
    assert "ValueError: the hook broke" in braid.text + braid.errors
    assert ("INTERNALERROR" in serial.text) <= ("INTERNALERROR" in braid.text)


def test_an_internal_error_is_told_to_plugins_once(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_runtest_logreport(report):
            if "2" in report.nodeid: raise ValueError("broken")
        """
    )
    suite.write(test_a=PASSING)
    braid = suite.braid(workers=1)
    assert braid.exit == pytest.ExitCode.INTERNAL_ERROR
    assert len(braid.told("internalerror")) == 1


@pytest.mark.parametrize(
    "hook", ["configure(config)", "sessionstart(session)", "collection_modifyitems(items)"]
)
def test_a_usage_error_of_a_hook_is_one(suite: Suite, hook: str) -> None:
    suite.conftest(
        f"import pytest\ndef pytest_{hook}: raise pytest.UsageError('not like this', 'two')"
    )
    suite.write(test_a=PASSING)
    serial, braid = suite.serial(), suite.braid()
    assert serial.exit == braid.exit == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: not like this" in braid.errors
    assert braid.errors == serial.errors


@pytest.mark.parametrize("stop", ["shouldstop", "shouldfail"])
def test_a_hook_may_stop_the_run(suite: Suite, stop: str) -> None:
    suite.conftest(
        f"""
        import pytest
        def pytest_runtest_logreport(report): pass
        @pytest.hookimpl(trylast=True)
        def pytest_runtest_teardown(item):
            if item.name == "test_2": item.session.{stop} = "enough, says the hook"
        """
    )
    suite.write(test_a=PASSING)
    suite.same(workers=1)


def test_a_hook_of_the_controller_may_stop_the_run(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def up(): yield
        class Stopper:
            def __init__(self, session): self.session = session
            def pytest_runtest_logreport(self, report):
                if report.failed: self.session.shouldstop = "seen enough"
        def pytest_sessionstart(session):
            if not hasattr(session.config, "workerinput"):
                session.config.pluginmanager.register(Stopper(session))
        """
    )
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(500))\ndef test_1(n): assert n"
    )
    braid = suite.braid()
    assert braid.exit == pytest.ExitCode.INTERRUPTED
    assert "!!! Interrupted: seen enough !!!" in braid.text
    assert "without an outcome" not in braid.text


def test_the_collector_of_garbage_is_the_usual_one_for_the_project(suite: Suite) -> None:
    usual = gc.get_threshold()
    suite.write(
        test_a=f"""
        import gc
        BEFORE = gc.get_threshold()
        def test_1(): assert gc.get_threshold() == BEFORE == {usual}
        """,
        test_b="""
        import gc
        young, middle, old = gc.get_threshold()
        gc.set_threshold(50_000, 2 * middle, 2 * old)
        def test_1(): assert gc.get_threshold() == (50_000, 2 * middle, 2 * old)
        """,
    )
    suite.conftest(
        """
        import atexit, gc
        def pytest_configure(config):
            if not hasattr(config, "workerinput"):
                atexit.register(lambda: print("thresholds", *gc.get_threshold()))
        """
    )
    alone = suite.braid("test_a.py")
    assert alone.exit == 0
    assert f"thresholds {' '.join(map(str, usual))}" in alone.lines
    assert suite.braid("test_b.py").exit == suite.serial("test_b.py").exit == 0


LAST_WORDS = """
import atexit, gc
class Held:
    {finalizer}
class Cycle:
    held = Held()
atexit.register(lambda: print("frozen:", gc.get_freeze_count() > 1000))
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.add_cleanup(lambda: print("unconfigured"))
"""


def test_the_controller_does_not_take_its_heap_apart(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.conftest(LAST_WORDS.format(finalizer="pass"))
    run = suite.braid()
    assert run.lines[-2:] == ["unconfigured", "frozen: True"], run.text


def test_a_finalizer_of_a_conftest_is_called_at_exit_if_it_is_in_a_serial_run(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.conftest(LAST_WORDS.format(finalizer="def __del__(self): print('farewell')"))
    serial, braid = suite.serial(), suite.braid()
    assert serial.lines[-3:].count("farewell") == braid.lines[-3:].count("farewell")  # none in 3.12
    assert "frozen: False" in braid.lines
