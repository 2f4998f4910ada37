"""``ast.parse``, by which pytest and ``traceback`` find the source of what has failed.

CPython before 3.13 counts the depth of the tree that it makes in one place for all threads. When
the garbage collector runs code meanwhile, and with it another thread that parses, both may fail:
"AST constructor recursion depth mismatch" (CPython issue 106905).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import pytest

from pytest_braid.seam.routing import Values

LOCK = RLock()
"""Held by whoever parses, which another parse may interrupt, in the same thread."""


def probe(_: pytest.Config) -> str | None:
    """Every Python has it."""
    return None


@contextmanager
def isolated(_: pytest.Config, __: Values) -> Iterator[None]:
    """Let one thread after another parse."""
    parse: Any = ast.parse

    def locked(*args: Any, **more: Any) -> Any:
        __tracebackhide__ = True
        with LOCK:
            return parse(*args, **more)

    ast.parse = locked
    try:
        yield
    finally:
        ast.parse = parse
