"""pytest's temporary directories: they are numbered, and two tests must not count at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import RLock
from typing import Any

import pytest

from pytest_braid.seam.routing import Values, dress, missing

_METHODS = ("getbasetemp", "mktemp")


def _factory(config: pytest.Config) -> Any:
    return getattr(config, "_tmp_path_factory", None)


def probe(config: pytest.Config) -> str | None:
    """Whether the factory is there, or its plugin is not."""
    if not config.pluginmanager.has_plugin("tmpdir"):
        return None
    return missing(config, {"_tmp_path_factory": None}) or missing(
        _factory(config), dict.fromkeys(_METHODS)
    )


def _one_at_a_time(method: Callable[..., Any], lock: AbstractContextManager[Any]) -> Any:
    def locked(*args: Any, **more: Any) -> Any:
        with lock:
            return method(*args, **more)

    return locked


@contextmanager
def isolated(config: pytest.Config, _: Values) -> Iterator[None]:
    """Let one test after another make directories."""
    factory = _factory(config)
    if factory is None:
        yield
        return
    lock, kind = RLock(), type(factory)
    dress(factory, {name: _one_at_a_time(getattr(kind, name), lock) for name in _METHODS})
    try:
        yield
    finally:
        factory.__class__ = kind
