"""What braid says of itself: each message names the thing, the place, the cause and the way out.

Messages about crashes, interrupts and refusals are tested where these are (``test_faults``,
``test_interrupts``, ``test_census``), those about options in ``test_options``.
"""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite

PASSING = "def test_1(): pass\ndef test_2(): pass"


def test_a_collecting_process_that_ends_at_once_is_told_with_its_output(suite: Suite) -> None:
    suite.conftest(
        """
        import os
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                os.write(2, b"last words\\n")
                os._exit(5)
        """
    )
    suite.write(test_a=PASSING)
    run = suite.braid()
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert (
        "INTERNALERROR> braid: the process that collects the tests is gone: its process ended with "
        "exit code 5, before it collected anything. Run with -n 0 to see more."
    ) in run.lines
    assert "INTERNALERROR> last words" in run.lines


def test_a_collecting_process_that_fails_at_its_end_is_told_with_the_traceback(
    suite: Suite,
) -> None:
    suite.conftest(
        """
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"):
                raise ValueError("cannot be unconfigured")
        """
    )
    suite.write(test_a=PASSING)
    run = suite.braid()
    assert run.exit == pytest.ExitCode.INTERNAL_ERROR
    assert (
        "braid: the process that collected the tests, and forked the workers, failed in "
        "pytest_unconfigure or at exit: its process ended with exit code 1."
    ) in run.errors
    assert "ValueError: cannot be unconfigured" in run.errors


def test_a_worker_whose_session_ends_by_itself_is_told(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        @pytest.hookimpl(wrapper=True)
        def pytest_runtestloop(session):
            result = yield
            return result
        def pytest_runtest_logfinish(nodeid, location):
            pass
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_protocol(item, nextitem):
            if hasattr(item.config, "workerinput") and item.name == "test_1":
                raise item.session.Interrupted("by a hook")
        """
    )
    suite.write(test_a=PASSING)
    serial, run = suite.serial(), suite.braid(workers=1)
    assert run.exit != 0
    assert serial.exit == 0
    assert "!!! Interrupted: by a hook !!!" in run.text


ANSWERS = """
def pytest_addoption(parser): parser.addoption("--say", action="store_true")
def pytest_cmdline_main(config):
    if config.option.say:
        print("answered")
        return 7
"""


@pytest.mark.parametrize("where", ["conftest", "plugin before", "plugin after"])
def test_a_plugin_that_answers_for_pytest_starts_nothing(suite: Suite, where: str) -> None:
    if where == "conftest":
        suite.conftest(ANSWERS)
    else:
        suite.plugin("answers", ANSWERS)
    suite.write(test_a=PASSING)
    order = ["-p", "braid", "-p", "answers"] if where == "plugin after" else ["-p", "braid"]
    if where == "plugin after":
        suite.plugins = ()
    serial = suite.plain(*order, "--say")
    run = suite.plain(*order, "-n", "2", "--say")
    assert serial.exit == run.exit == 7
    assert run.lines == serial.lines
    assert run.errors == serial.errors


def test_a_plugin_that_answers_for_pytest_leaves_no_process(suite: Suite) -> None:
    suite.conftest(ANSWERS)
    suite.write(test_a=PASSING)
    suite.path.joinpath("script.py").write_text(
        "import os, pytest\n"
        "print('exit', pytest.main(['-p', 'braid', '-n', '2', '--say']))\n"
        "try: print('children', os.waitpid(-1, os.WNOHANG))\n"
        "except ChildProcessError: print('no child')\n"
    )
    run = suite.script("script.py")
    assert run == ["answered", "exit 7", "no child"]
