"""A plugin for the suites of these tests: runs all tests at the same time, or plainly, and writes
down what pytest reports.

With ``--overlap`` each test has a thread. They wait for each other at the beginning and at the end
of every phase, within all that pytest puts around it, and wherever a test calls :func:`meet`. What
the strands of a real run have of fixtures is not the subject here: each test has everything for
itself.
"""
# ruff: noqa: SLF001 -- of fixtures, pytest keeps nothing where it could be had otherwise

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import SetupState  # noqa: TID251 -- one per test

from pytest_braid.capture.isolation import Isolation
from pytest_braid.capture.ownership import owned, owner, values
from pytest_braid.seam.routing import routed


class Meeting:
    """Where all that still run wait for each other."""

    def __init__(self, members: int) -> None:
        self._condition = threading.Condition()
        self._members = members
        self._waiting = 0
        self._round = 0

    def meet(self) -> None:
        with self._condition:
            mine = self._round
            self._waiting += 1
            self._advance()
            self._condition.wait_for(lambda: self._round != mine)

    def leave(self) -> None:
        with self._condition:
            self._members -= 1
            self._advance()

    def _advance(self) -> None:
        if self._waiting >= self._members:
            self._waiting = 0
            self._round += 1
            self._condition.notify_all()


meeting: Meeting | None = None


def meet() -> None:
    """Wait for all others, if there are others."""
    if meeting is not None and owner() is not None:
        meeting.meet()


class OwnDefinitions(dict[str, Any]):
    """The fixture definitions of one item, none of them shared with another."""

    def __init__(self, item: Any) -> None:
        super().__init__()
        self._known = item._fixtureinfo.name2fixturedefs
        self._item = item

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            manager = self._item.session._fixturemanager
            found = self._known.get(name) or manager.getfixturedefs(name, self._item) or ()
            self[name] = tuple(map(_own_definition, found))
        return self[name] or default


def _own_definition(definition: Any) -> Any:
    own = copy.copy(definition)
    own.__dict__.update(cached_result=None, _finalizers=[])
    return own


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--overlap", action="store_true")
    parser.addoption("--record")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(Path(config.getoption("--record"))))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> object:
    global meeting  # noqa: PLW0603 -- for the tests to find
    if not session.config.getoption("--overlap"):
        return None
    meeting = Meeting(len(session.items))
    isolation = Isolation(session.config)
    assert isolation.why_not() is None
    with ExitStack() as stack:
        stack.enter_context(isolation)
        stack.enter_context(routed(session, values, {"_setupstate": lambda _: SetupState()}))
        strands = [threading.Thread(target=_run, args=(item,)) for item in session.items]
        for strand in strands:
            strand.start()
        for strand in strands:
            strand.join()
    return True


def _run(item: Any) -> None:
    assert meeting is not None
    if hasattr(item, "_request"):
        item._request.__dict__["_arg2fixturedefs"] = OwnDefinitions(item)
    with owned(item):
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            meeting.leave()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    meet()
    try:
        return (yield)
    finally:
        meet()


pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup


class Recorder:
    """What was reported: all of it that does not change from run to run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.record: dict[str, Any] = {"reports": [], "warnings": []}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.record["reports"].append(
            {
                "test": report.nodeid,
                "when": report.when,
                "outcome": report.outcome,
                "sections": [[name, _stable(text)] for name, text in report.sections],
                "text": _stable(report.longreprtext),
            }
        )

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        self.record["warnings"].append(
            {
                "test": nodeid,
                "when": when,
                "category": warning_message.category.__name__,
                "text": _stable(str(warning_message.message)),
                "place": [Path(warning_message.filename).name, warning_message.lineno],
                "location": location,
            }
        )

    def pytest_sessionfinish(self) -> None:
        for entries in self.record.values():
            entries.sort(key=lambda entry: entry["test"])  # those of one test in their order
        self._file.write_text(json.dumps(self.record))


def _stable(text: str) -> str:
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"Thread-\d+", "Thread-N", text)
    return re.sub(r"pytest-\d+/", "pytest-N/", text)
