"""Calls that wait: what a test on a strand reports is told when the test is over, by the thread
that may tell. Its live log is, too: lines of several tests would mix, and stand above the line of
the one that they belong to."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pytest_braid.seam.hooks import dress_callers
from pytest_braid.seam.routing import dress

_BEGIN = "pytest_runtest_logstart"
REPORTING = (
    _BEGIN,
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)
"""Hooks of which reporters assume that nobody calls two at once, or those of two tests in turn."""

_OF_REPORTS = ("pytest_report_teststatus", "pytest_report_to_serializable")
"""Hooks that those lead to."""

_LIVE = "log_cli_handler"
_LIVE_CALLS = ("emit", "reset", "set_when")

_KNOWN = {"_pytest", "pytest_braid"}

Call = Callable[[], object]
Outbox = Callable[[], list[Call] | None]
"""Where calls of the running code wait; ``None`` if they need not."""


def has_listeners(config: pytest.Config) -> bool:
    """Whether anybody but pytest and braid hears of reports: he may expect the main thread."""
    return any(
        getattr(implementation.function, "__module__", "").partition(".")[0] not in _KNOWN
        for name in (*REPORTING, *_OF_REPORTS)
        for implementation in getattr(config.hook, name).get_hookimpls()
    )


def defer(
    config: pytest.Config,
    outbox: Outbox,
    tell_begin: Callable[[str, Call], bool] = lambda _nodeid, _call: False,
) -> None:
    """Let calls of the reporting hooks wait wherever ``outbox`` says so. ``tell_begin`` gets the
    node id of a test that begins there, and what tells it; whether it was told at once."""
    dress_callers(config, REPORTING, lambda kind: _waiting(kind, outbox, tell_begin))
    handler: Any = getattr(config.pluginmanager.get_plugin("logging-plugin"), _LIVE, None)
    is_on = not isinstance(handler, logging.NullHandler)
    if is_on and all(hasattr(handler, name) for name in _LIVE_CALLS):
        kind: Any = type(handler)
        dress(handler, {name: _late(kind, name, outbox) for name in _LIVE_CALLS})


def _waiting(kind: Any, outbox: Outbox, tell_begin: Callable[[str, Call], bool]) -> dict[str, Any]:
    def call(self: Any, **given: Any) -> Any:
        waiting = outbox()
        if waiting is None:
            return kind.__call__(self, **given)
        if self.name == _BEGIN and tell_begin(
            given["nodeid"], lambda: kind.__call__(self, **given)
        ):
            return []
        if "report" in given:  # a plugin may change its own afterwards, and report once more
            given["report"] = _copied(given["report"])
        waiting.append(partial(kind.__call__, self, **given))
        return []

    def call_historic(self: Any, *args: Any, **given: Any) -> None:
        waiting = outbox()
        if waiting is None:
            kind.call_historic(self, *args, **given)
        else:
            waiting.append(lambda: kind.call_historic(self, *args, **given))

    return {"__call__": call, "call_historic": call_historic}


def _copied(report: Any) -> Any:
    """As ``copy.copy``, which asks first how a report is to be copied."""
    if type(report) is not pytest.TestReport:
        return copy.copy(report)
    copied = object.__new__(pytest.TestReport)
    copied.__dict__.update(report.__dict__)
    return copied


def _late(kind: Any, name: str, outbox: Outbox) -> Callable[..., None]:
    method = getattr(kind, name)

    def call(self: Any, *given: Any) -> None:
        waiting = outbox()
        if waiting is None:
            method(self, *given)
        else:
            as_now = [_settled(one) if isinstance(one, logging.LogRecord) else one for one in given]
            waiting.append(lambda: method(self, *as_now))

    return call


def _settled(record: logging.LogRecord) -> logging.LogRecord:
    """With a message that does not change with its arguments any more."""
    settled = copy.copy(record)
    settled.msg, settled.args = record.getMessage(), None
    return settled
