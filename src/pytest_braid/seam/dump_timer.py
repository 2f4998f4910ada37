"""``faulthandler_timeout``: the interpreter has one timer, and each test wants to set it."""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import pytest

from pytest_braid.seam.routing import Values


class _Wish(NamedTuple):
    due: float
    more: dict[str, Any]


class _Timer:
    """The real timer, set to the first of what the running tests have asked for.

    A dump shows all threads. So one that is due while the timer is set for an earlier one is not
    lost: when the next test starts or ends, the timer is set for the first that is still to come.
    """

    def __init__(self, values: Values, clock: Callable[[], float]) -> None:
        self._values = values
        self._clock = clock
        self._lock = Lock()
        self._wishes: dict[int, _Wish] = {}
        self._set, self._cancel = (
            faulthandler.dump_traceback_later,
            faulthandler.cancel_dump_traceback_later,
        )

    def set(self, timeout: float, **more: Any) -> None:
        own = self._values()
        if own is None:
            self._set(timeout, **more)
            return
        with self._lock:
            self._wishes[id(own)] = _Wish(self._clock() + timeout, more)
            self._renew()

    def cancel(self) -> None:
        own = self._values()
        if own is None:
            self._cancel()
            return
        with self._lock:
            self._wishes.pop(id(own), None)
            self._renew()

    def _renew(self) -> None:
        now = self._clock()
        coming = [wish for wish in self._wishes.values() if wish.due > now]
        if not coming:
            self._cancel()
            return
        first = min(coming, key=lambda wish: wish.due)
        self._set(first.due - now, **first.more)


def probe(_: pytest.Config) -> None:
    """What is replaced is public."""


@contextmanager
def isolated(
    config: pytest.Config, values: Values, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Let running tests share the timer, where pytest sets it at all."""
    has_plugin = config.pluginmanager.has_plugin("faulthandler")
    if not (has_plugin and float(config.getini("faulthandler_timeout") or 0)):
        yield
        return
    before = faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later
    timer = _Timer(values, clock)
    module: Any = faulthandler
    module.dump_traceback_later, module.cancel_dump_traceback_later = timer.set, timer.cancel
    try:
        yield
    finally:
        module.dump_traceback_later, module.cancel_dump_traceback_later = before
