"""Async tests and fixtures, served to pytest as synchronous functions that wait."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from types import MethodType
from typing import Any

import pytest

from pytest_braid.fixtures.bridge import Hub
from pytest_braid.fixtures.served import served
from pytest_braid.worker.asyncs import is_async, is_task, stays_with_plugin


class Service:
    """A plugin: calls async tests, and makes of async fixture functions what pytest can call."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._served: dict[tuple[Any, bool], Any] = {}

    def serve(self, definition: Any, item: pytest.Item, is_shared: bool) -> Any:
        """The function for an instance of a fixture (``fixtures.instances.Serve``)."""
        function = definition.func
        if not is_async(function) or stays_with_plugin(item):
            return function
        # That of a sync test is set up in one task and torn down in another, or in one of its own.
        key = definition, is_shared or not is_task(item)
        if key not in self._served:
            self._served[key] = served(function, self._hub, is_shared=key[1])
        return self._served[key]

    def prepare(self, item: pytest.Item) -> bool:
        """Whether it is a test of ours; then no plugin's own kind of item runs it any more."""
        if not is_task(item):
            return False
        if type(item).__module__.startswith("pytest_asyncio"):
            own: Any = item
            own.setup = MethodType(pytest.Function.setup, item)
            own.runtest = MethodType(pytest.Function.runtest, item)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        __tracebackhide__ = True
        if not is_task(pyfuncitem):
            return (yield)
        holder, name = _place_of_function(pyfuncitem)
        original = getattr(holder, name)
        setattr(holder, name, self._waiting(original))
        try:
            return (yield)
        finally:
            setattr(holder, name, original)

    def _waiting(self, function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function, updated=())
        def call(*args: Any, **more: Any) -> None:
            __tracebackhide__ = True
            result = function(*args, **more)
            if inspect.iscoroutine(result) or inspect.isawaitable(result):
                self._hub.wait_for(result)

        return call


def _place_of_function(item: pytest.Function) -> tuple[Any, str]:
    """Where the test's function is looked up when it is called."""
    if hasattr(item.obj, "hypothesis"):
        return item.obj.hypothesis, "inner_test"
    return item, "obj"
