"""Context variables that say what runs, and for whom."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

OWN: dict[ContextVar[Any], object] = {}
"""All variables that :func:`variable` has made, with their defaults. No code of a project sets
one."""

OF_TEST: set[ContextVar[Any]] = set()
"""Those that are the test's alone, and not of what it sets up for others, too."""


def variable(name: str, default: T, *, is_of_test: bool = False) -> ContextVar[T]:
    """A variable that belongs to the strand that runs."""
    made: ContextVar[T] = ContextVar(name, default=default)
    OWN[made] = default
    if is_of_test:
        OF_TEST.add(made)
    return made
