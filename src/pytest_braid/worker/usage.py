"""What tests use up, and how long the fixtures that they share take to set up."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pytest_braid.worker.outbox import outbox

_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which ``ru_maxrss`` counts."""


class Usage:
    """Of this process and of those that it has waited for, from one look to the next."""

    def __init__(self) -> None:
        self._look = resource.getrusage  # bound before a test can patch the module
        self._cpu, self._peak = 0.0, 0
        self.since_last()

    def since_last(self) -> tuple[float, int]:
        """Seconds of CPU, and by how many bytes the peak of the memory has grown."""
        own = self._look(resource.RUSAGE_SELF)
        children = self._look(resource.RUSAGE_CHILDREN)
        cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
        peak = own.ru_maxrss * _UNIT
        used, grown = cpu - self._cpu, peak - self._peak
        self._cpu, self._peak = cpu, peak
        return used, grown


class Stopwatch:
    """Tells how long the setup of each fixture has taken that is not of a function's scope.

    ``tell`` is given the fixture's name, the seconds and the end. What is found in another thread
    than the main one is left with the reports of its test.
    """

    def __init__(self, tell: Callable[[str, float, float], None]) -> None:
        self._tell = tell
        self._clock = time.monotonic

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: Any
    ) -> Generator[None, object, object]:
        __tracebackhide__ = True
        if fixturedef.scope == "function":
            return (yield)
        began = self._clock()
        value = yield
        ended = self._clock()
        index = request.param_index if hasattr(request, "param") else None
        name = fixture_name(fixturedef, index)
        waiting = outbox.get()
        if waiting is None:
            self._tell(name, ended - began, ended)
        else:
            waiting.append(lambda: self._tell(name, ended - began, ended))
        return value


def fixture_name(definition: Any, index: int | None) -> str:
    """The name under which a fixture is remembered, with the number of its parameter."""
    name = f"{definition.baseid}::{definition.argname}"
    return name if index is None else f"{name}[{index}]"
