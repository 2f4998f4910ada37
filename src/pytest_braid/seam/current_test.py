"""``PYTEST_CURRENT_TEST``: a variable of the process that says where each of its tests is.

A test finds its own in ``os.environ``, and nowhere else: to set a variable of the process while a
child process is started from another thread could crash both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_braid.seam.routing import Values, dress, in_context

_NAME = "PYTEST_CURRENT_TEST"
_KEY = f"os.environ[{_NAME!r}]"


def probe(_: pytest.Config) -> str | None:
    """Whether ``os.environ`` can be given another class."""
    if hasattr(os.environ, "__dict__"):
        return None
    return "os.environ is not an object that could be given a class of its own"


def _get(self: Any, name: str) -> Any:
    own = (self.braid_context() or self.braid_values()) if name == _NAME else None
    if own is None:
        return self.braid_kind.__getitem__(self, name)
    if _KEY not in own:
        raise KeyError(name)
    return own[_KEY]


def _set(self: Any, name: str, value: str) -> None:
    own = (self.braid_context() or self.braid_values()) if name == _NAME else None
    if own is None:
        self.braid_kind.__setitem__(self, name, value)
    else:
        self.encodevalue(value)  # or say why not
        own[_KEY] = value


def _delete(self: Any, name: str) -> None:
    own = (self.braid_context() or self.braid_values()) if name == _NAME else None
    if own is None:
        self.braid_kind.__delitem__(self, name)
    elif own.pop(_KEY, None) is None:
        raise KeyError(name)


def _names(self: Any) -> Iterator[str]:
    own = self.braid_values()
    names: Iterator[str] = self.braid_kind.__iter__(self)
    if own is None:
        return names
    others = [name for name in names if name != _NAME]
    return iter([*others, _NAME] if _KEY in own else others)


_METHODS = {
    "__getitem__": _get,
    "__setitem__": _set,
    "__delitem__": _delete,
    "__iter__": _names,
    "__len__": lambda self: sum(1 for _ in self),
}


@contextmanager
def isolated(_: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test have a variable of its own."""
    kind = type(os.environ)
    asked = {
        "braid_values": staticmethod(values),
        "braid_context": staticmethod(in_context(values)),
    }
    dress(os.environ, {**_METHODS, **asked, "braid_kind": kind})
    try:
        yield
    finally:
        os.environ.__class__ = kind
