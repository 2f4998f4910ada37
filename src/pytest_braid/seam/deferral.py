"""Hook calls that wait: what a test on a strand reports is told when the test is over, by the
thread that may tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

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
    for name in REPORTING:
        _let_wait(getattr(config.hook, name), outbox)
    # Where a folder's conftest has no part in it, pytest calls the hook through a copy.
    manager: Any = config.pluginmanager
    subset = manager.subset_hook_caller

    def waiting_subset(name: str, *args: Any, **more: Any) -> Any:
        caller = subset(name, *args, **more)
        if name in REPORTING:
            _let_wait(caller, outbox)
        return caller

    manager.subset_hook_caller = waiting_subset


def _let_wait(caller: Any, outbox: Outbox) -> None:
    """Give one caller a class of its own."""
    kind: Any = type(caller)
    if hasattr(kind, "waits"):
        return

    def call(self: Any, **given: Any) -> Any:
        waiting = outbox()
        if waiting is None:
            return kind.__call__(self, **given)
        waiting.append(lambda: kind.__call__(self, **given))
        return []

    def call_historic(self: Any, *args: Any, **given: Any) -> None:
        waiting = outbox()
        if waiting is None:
            kind.call_historic(self, *args, **given)
        else:
            waiting.append(lambda: kind.call_historic(self, *args, **given))

    caller.__class__ = type(
        kind.__name__,
        (kind,),
        {"__slots__": (), "waits": True, "__call__": call, "call_historic": call_historic},
    )
