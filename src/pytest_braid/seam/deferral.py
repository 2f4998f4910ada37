"""Hook calls that wait: what a test on a strand reports is told when the test is over, by the
thread that may tell."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pytest_braid.seam.hooks import dress_callers

REPORTING = (
    "pytest_runtest_logstart",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
    "pytest_warning_recorded",
)
"""Hooks of which reporters assume that nobody calls two at once, or those of two tests in turn."""

Call = Callable[[], object]
Outbox = Callable[[], list[Call] | None]
"""Where calls of the running code wait; ``None`` if they need not."""


def defer(config: pytest.Config, outbox: Outbox) -> None:
    """Let calls of the reporting hooks wait wherever ``outbox`` says so."""
    dress_callers(config, REPORTING, lambda kind: _waiting(kind, outbox))


def _waiting(kind: Any, outbox: Outbox) -> dict[str, Any]:
    def call(self: Any, **given: Any) -> Any:
        waiting = outbox()
        if waiting is None:
            return kind.__call__(self, **given)
        if "report" in given:  # a plugin may change its own afterwards, and report once more
            given["report"] = copy.copy(given["report"])
        waiting.append(lambda: kind.__call__(self, **given))
        return []

    def call_historic(self: Any, *args: Any, **given: Any) -> None:
        waiting = outbox()
        if waiting is None:
            kind.call_historic(self, *args, **given)
        else:
            waiting.append(lambda: kind.call_historic(self, *args, **given))

    return {"__call__": call, "call_historic": call_historic}
