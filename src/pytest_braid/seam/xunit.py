"""The setup and teardown functions of modules, classes and methods, where these are async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from _pytest import python

_CALL = "_call_with_optional_argument"


def probe_xunit() -> str | None:
    """Why async ones cannot be awaited, if so."""
    return None if callable(getattr(python, _CALL, None)) else f"_pytest.python has no {_CALL}"


def await_async_ones(wait: Callable[[Awaitable[Any]], object]) -> Callable[[], None]:
    """Have ``setup_method`` and its like awaited where they are async: pytest would make a
    coroutine and forget it. Returns what undoes it."""
    original: Any = getattr(python, _CALL)

    def call(function: Any, argument: object) -> None:
        __tracebackhide__ = True
        if not inspect.iscoroutinefunction(function):
            original(function, argument)
            return
        count = function.__code__.co_argcount - inspect.ismethod(function)
        wait(function(argument) if count else function())

    setattr(python, _CALL, call)
    return lambda: setattr(python, _CALL, original)
