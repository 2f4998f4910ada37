"""pytest's reporting hooks: plugins that implement them do not expect two calls at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

import pytest

from pytest_braid.seam.deferral import REPORTING
from pytest_braid.seam.routing import Values, missing

_EXECUTE = "_hookexec"


def probe(config: pytest.Config) -> str | None:
    """Whether a hook is called through what is to be locked."""
    for name in REPORTING:
        reason = missing(getattr(config.hook, name), {_EXECUTE: None})
        if reason is not None:
            return reason
    return None


@contextmanager
def isolated(config: pytest.Config, _: Values) -> Iterator[None]:
    """Let one strand after another report.

    A hook that leads to another one (a report to a warning) finds the lock in its own hands. Where
    a folder's conftest has no part in it, pytest calls a hook through a copy, made when it is first
    called: these do not outlast the run, and keep the lock.
    """
    lock = RLock()
    with ExitStack() as stack:
        for name in REPORTING:
            stack.enter_context(_locked(getattr(config.hook, name), lock))
        yield


@contextmanager
def _locked(caller: Any, lock: Any) -> Iterator[None]:
    execute = caller._hookexec

    def locked(*args: Any) -> Any:
        __tracebackhide__ = True
        with lock:
            return execute(*args)

    caller._hookexec = locked
    try:
        yield
    finally:
        caller._hookexec = execute
