"""Log records of tests that run at once."""

from __future__ import annotations

import pytest

from tests.capture.conftest import Overlapped, texts

SOURCE = """
import io, logging, sys, threading, pytest

logger = logging.getLogger("project.part")
aloof = logging.getLogger("aloof")
aloof.propagate = False

@pytest.fixture
def logs(request):
    logging.warning("setup of %s", request.node.name)
    yield
    meet()
    logging.warning("teardown of %s", request.node.name)

@pytest.mark.parametrize("n", range(3))
def test_logs(logs, n):
    for _ in range(20):
        logger.warning("said by %d", n)
    meet()
    logger.info("for information %d", n)
    aloof.error("aloof %d", n)
    logging.getLogger(f"made.by.{n}").error("by a new logger")
    thread = threading.Thread(target=logging.error, args=("in a thread of %d", n))
    thread.start()
    thread.join()
    meet()
    assert 0

@pytest.mark.parametrize("n", range(3))
def test_caplog(caplog, n):
    meet()
    logger.warning("said by %d", n)
    meet()
    assert caplog.messages == [f"said by {n}"]
    caplog.clear()
    logging.error("last of %d", n)
    meet()
    assert caplog.record_tuples == [("root", logging.ERROR, f"last of {n}")]
    assert caplog.text.endswith(f"last of {n}\\n")

def test_adds_a_handler_of_its_own(caplog):
    found = []
    handler = logging.Handler()
    handler.emit = found.append
    own = logging.getLogger("own")
    own.addHandler(handler)
    own.addHandler(caplog.handler)
    own.propagate = False
    meet()
    own.error("mine")
    meet()
    own.removeHandler(handler)
    own.removeHandler(caplog.handler)
    own.removeHandler(caplog.handler)
    own.error("not heard")
    assert [record.getMessage() for record in found] == ["mine"]
    assert caplog.messages == ["mine"]

@pytest.fixture
def heard(caplog):
    logging.warning("in setup")
    of_its_own = logging.getLogger("heard")
    of_its_own.propagate = False
    of_its_own.addHandler(caplog.handler)
    yield of_its_own
    of_its_own.error("in teardown")
    assert [each.getMessage() for each in caplog.get_records("teardown")] == ["in teardown"]
    of_its_own.removeHandler(caplog.handler)

@pytest.mark.parametrize("n", range(2))
def test_each_phase_has_its_records(heard, caplog, n):
    assert caplog.messages == []
    heard.error("in test %d", n)
    meet()
    logging.getLogger(f"aloof later {n}").propagate = False
    logging.getLogger(f"aloof later {n}").error("not heard")
    assert [each.getMessage() for each in caplog.get_records("setup")] == ["in setup"]
    assert caplog.messages == [f"in test {n}"]
    assert caplog.get_records("call") is caplog.records

def test_logs_in_one_phase(caplog):
    logging.error("in the test")
    meet()
    assert caplog.get_records("setup") == []
    assert len(caplog.get_records("call")) == 1

def test_logs_between_phases(caplog, request):
    meet()
    request.addfinalizer(lambda: between(caplog))

def between(caplog):
    logging.error("in teardown")
    assert caplog.get_records("setup") == caplog.get_records("call") == []
    assert len(caplog.get_records("teardown")) == 1

kept = io.StringIO()

@pytest.mark.parametrize("stream", [kept, sys.stdout, "closed", None])
def test_replaces_the_stream(caplog, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    caplog.handler.setStream(stream)
    meet()

@pytest.mark.parametrize("n", range(8))
def test_is_heard_whoever_was_before(caplog, n):
    meet()
    logging.error("heard %d", n)
    assert caplog.text.count("heard") == 1
    caplog.handler.stream.truncate(0)
    assert not kept.getvalue()

class Refusing(logging.Logger):
    def addHandler(self, handler):
        if isinstance(handler, logging.NullHandler):
            super().addHandler(handler)

refusing = Refusing("refusing")
refusing.propagate = False
refusing.addHandler(logging.NullHandler())
logging.root.manager.loggerDict["refusing"] = refusing

def test_has_a_logger_that_takes_no_handlers(caplog):
    meet()
    refusing.error("not heard")
    assert caplog.messages == []

def test_removes_all_handlers():
    before = logging.root.handlers[:]
    meet()
    logging.root.handlers.clear()
    logging.root.handlers[:] = before
    meet()

def test_cannot_be_formatted():
    meet()
    logging.error("%d", "no number")
"""


BETWEEN = """
import logging, pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    logging.error("between two phases")
    return (yield)
"""


@pytest.mark.parametrize("options", [(), ("--log-level=INFO",)])
def test_each_test_has_its_own_records(overlapped: Overlapped, options: tuple[str, ...]) -> None:
    record = overlapped(SOURCE, *options, conftest=BETWEEN)
    calls = texts(record, "Captured log call")
    assert calls["test_logs[1]"].count("said by 1") == 20
    assert ("for information 1" in calls["test_logs[1]"]) is bool(options)
    assert "in a thread of 1" in calls["test_logs[1]"]
    assert "setup of test_logs[2]" in texts(record, "Captured log setup")["test_logs[2]"]
    failed = {entry["test"] for entry in record["reports"] if entry["outcome"] == "failed"}
    assert failed == {
        f"test_it.py::test_{name}"
        for name in (*("logs[0]", "logs[1]", "logs[2]"), "cannot_be_formatted")
    }


def test_records_are_shown_live_once(overlapped: Overlapped, pytester: pytest.Pytester) -> None:
    overlapped(SOURCE, "--log-cli-level=INFO", "--log-file=log.txt", "--log-file-mode=a")
    written = pytester.path.joinpath("log.txt").read_text()
    assert written.count("said by 1\n") == 2 * 21
