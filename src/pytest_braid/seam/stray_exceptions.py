"""Exceptions that nobody can catch, of threads and of finalizers, for the test that they happen in.

pytest 8.3 puts a hook of its own into ``sys`` and ``threading`` in each phase: these names are
routed, like others. Since pytest 8.4 there is one hook of each kind for the whole run, and what it
finds waits in a queue of the config for the phase to end: then it is the queue that asks who runs.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import pytest

from pytest_braid.seam.routing import Forwarder, Values, in_context, missing, routed, share


class _Kind(NamedTuple):
    plugin: str
    key: str
    module: Any
    hook: str


_KINDS = (
    _Kind("unraisableexception", "unraisable_exceptions", sys, "unraisablehook"),
    _Kind("threadexception", "thread_exceptions", threading, "excepthook"),
)


_NOTHING: deque[Any] = deque()


class _Queue:
    """What the hook finds and the plugin takes: of the running test, or else of the run."""

    def __init__(self, name: str, shared: deque[Any], values: Values) -> None:
        self._name, self._shared, self._values = name, shared, values
        self._in_context = in_context(values)

    def append(self, found: Any) -> None:
        own = self._values()
        queue = self._shared if own is None else own.setdefault(self._name, deque())
        queue.append(found)

    def pop(self) -> Any:
        """Of a test that has none, twice in each phase: raises ``IndexError``."""
        own = self._in_context() or self._values()
        queue: Any = self._shared if own is None else own.get(self._name, _NOTHING)
        return queue.pop()


def probe(_: pytest.Config) -> str | None:
    """Whether the hooks are there."""
    for kind in _KINDS:
        reason = missing(kind.module, {kind.hook: None})
        if reason is not None:
            return reason
    return None


@contextmanager
def isolated(config: pytest.Config, values: Values) -> Iterator[None]:
    """Give each running test its own hooks, and tell it of its own exceptions only."""
    with ExitStack() as stack:
        for kind in _KINDS:
            attribute, forwarder = {kind.hook: share}, {kind.hook: Forwarder}
            stack.enter_context(routed(kind.module, values, attribute, forwarder))
            stack.enter_context(_queue_routed(config, values, kind))
        yield


@contextmanager
def _queue_routed(config: pytest.Config, values: Values, kind: _Kind) -> Iterator[None]:
    key: Any = getattr(import_module(f"_pytest.{kind.plugin}"), kind.key, None)
    hook = getattr(kind.module, kind.hook)
    if key not in config.stash or "append" not in getattr(hook, "keywords", ()):
        yield
        return
    shared = config.stash[key]
    queue = _Queue(kind.key, shared, values)
    config.stash[key] = queue
    setattr(kind.module, kind.hook, partial(hook, append=queue.append))
    try:
        yield
    finally:
        config.stash[key] = shared
        setattr(kind.module, kind.hook, hook)
