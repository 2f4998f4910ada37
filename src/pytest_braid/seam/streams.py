"""The names in ``sys`` that a test reads, assigns and puts back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from pytest_braid.seam.lines import Lines
from pytest_braid.seam.live import end_result, prints_live
from pytest_braid.seam.routing import Forwarder, Fresh, Values, missing, routed, share

_STREAMS = ("stdin", "stdout", "stderr")
_ATTRIBUTES: dict[str, Fresh] = dict.fromkeys(_STREAMS, share)
_LAST = dict.fromkeys(("last_type", "last_value", "last_traceback", "last_exc"), share)


class _Stream(Forwarder):
    """What ``print`` finds; it is silent where a test has set the name to None."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        stream = self._read()
        return _nothing if stream is None and name in ("write", "flush") else getattr(stream, name)


def _nothing(*_: object) -> None:
    """Write nothing."""


_FORWARDERS = dict.fromkeys(_STREAMS, _Stream)


def probe(_: pytest.Config) -> str | None:
    """Whether all are there."""
    return missing(sys, _ATTRIBUTES)


@contextmanager
def isolated(config: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test have its own streams and its own last exception; and its own lines in
    what all print into, where that is shown at once."""
    attributes = _ATTRIBUTES | _LAST
    if prints_live(config):
        make_room = partial(end_result, config)
        for name in ("stdout", "stderr"):
            attributes[name] = _lines_in(getattr(sys, name), values, make_room)
    with routed(sys, values, attributes, _FORWARDERS):
        yield


def _lines_in(stream: Any, values: Values, make_room: Callable[[], object]) -> Fresh:
    lines = Lines(stream, values, make_room)
    return lambda shared: lines if shared is stream else shared
