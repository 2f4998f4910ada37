"""What tests use up, and how long the fixtures that they share take to set up."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

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


class _Open(NamedTuple):
    """A fixture whose setup has begun."""

    name: str
    at: float


class Stopwatch:
    """Tells how long the setup of each fixture has taken that is not of a function's scope.

    It goes from the setup of a fixture to the next one's, or to the end of the test's setup: a
    wrapper would stand in every traceback. One that a test asks for while it runs is not told.
    ``tell`` is given the fixture's name, the seconds and the end. What is found in another thread
    than the main one, or in a task, is left with the reports of its test.
    """

    def __init__(self, tell: Callable[[str, float, float], None]) -> None:
        self._tell = tell
        self._clock = time.monotonic
        self._open: dict[int, _Open] = {}
        """Of each test that is being set up, by its outbox."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
        self._close()
        if fixturedef.scope != "function":
            index = request.param_index if hasattr(request, "param") else None
            name = fixture_name(fixturedef, index)
            self._open[id(outbox.get())] = _Open(name, self._clock())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[Any]) -> None:
        if call.when == "setup":
            self._close()
        elif self._open:
            self._open.pop(id(outbox.get()), None)

    def _close(self) -> None:
        if not self._open:
            return
        waiting = outbox.get()
        begun = self._open.pop(id(waiting), None)
        if begun is None:
            return
        ended = self._clock()
        if waiting is None:
            self._tell(begun.name, ended - begun.at, ended)
        else:
            waiting.append(lambda: self._tell(begun.name, ended - begun.at, ended))


def fixture_name(definition: Any, index: int | None) -> str:
    """The name under which a fixture is remembered, with the number of its parameter."""
    name = f"{definition.baseid}::{definition.argname}"
    return name if index is None else f"{name}[{index}]"
