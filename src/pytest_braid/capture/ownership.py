"""Who owns the running code: one test on one strand.

A context variable says it, and so it holds for threads, greenlets and asyncio tasks alike. A
thread that a test has started has a context of its own (before Python 3.14's free threading): there
it is the thread that remembers.

When a test is over it owns nothing any more, also in what it has left behind: a thread that goes
on, a task of a loop with a wider scope, a context that somebody has kept.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

from pytest_braid.model.variables import variable
from pytest_braid.seam import threads
from pytest_braid.seam.routing import AT_END


class Owner:
    """Whose output and state this is: one test on one strand."""

    __slots__ = ("__weakref__", "item", "values")

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.values: dict[str, Any] = {_OWNER: self}
        """What is this test's own, by the name under which everybody finds it: ``sys.stdout``.
        Empty as soon as the test is over."""

    @property
    def is_over(self) -> bool:
        return not self.values

    def __repr__(self) -> str:
        return f"<Owner {self.item.nodeid}{' (over)' if self.is_over else ''}>"


_OWNER = "owner"
_values: ContextVar[dict[str, Any] | None] = variable("pytest_braid_values", None)


class _Asked:
    """What is the running test's own; ``None`` if no test on a strand runs this.

    This is asked many times in the shortest test.
    """

    __slots__ = ("in_context",)

    def __init__(self) -> None:
        self.in_context = _values.get

    def __call__(self) -> dict[str, Any] | None:
        return _values.get() or threads.inherited() or None


values = _Asked()


def owner() -> Owner | None:
    """The owner of the running code; ``None`` for what no test on a strand does."""
    own = values()
    return None if own is None else own[_OWNER]


class owned:  # noqa: N801 -- a context manager, entered for each test
    """Everything inside, in this context, is this test's; in another context it is not."""

    __slots__ = ("_mine", "_token")

    def __init__(self, item: pytest.Item) -> None:
        self._mine = Owner(item)

    def __enter__(self) -> Owner:
        self._token = _values.set(self._mine.values)
        return self._mine

    def __exit__(self, *_exception: object) -> None:
        own = self._mine.values
        for give_back in own.get(AT_END, ()):
            give_back()
        own.clear()
        _values.reset(self._token)
