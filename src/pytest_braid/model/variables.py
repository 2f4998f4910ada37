"""Context variables that say what runs, and for whom."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

OWN: dict[ContextVar[Any], object] = {}
"""All variables that :func:`variable` has made, with their defaults. No code of a project sets
one."""


def variable(name: str, default: T) -> ContextVar[T]:
    """A variable that belongs to the strand that runs, and to nothing that it sets up."""
    made: ContextVar[T] = ContextVar(name, default=default)
    OWN[made] = default
    return made
