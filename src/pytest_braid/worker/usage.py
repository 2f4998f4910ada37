"""What tests use up, and how long the fixtures that they share take to set up."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

import pytest

from pytest_braid.worker.outbox import outbox

_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which ``ru_maxrss`` counts."""


_BRIEF = 0.002
"""Seconds in which no other process is started and waited for, and little memory is filled."""


class Usage:
    """Of this process and of those that it has waited for, from one look to the next.

    To ask for more than the process's own CPU takes as long as a hook: behind tests that take less
    than ``_BRIEF`` it is asked once for all of them.
    """

    def __init__(self) -> None:
        # Bound before a test can patch the modules.
        self._clock, self._own_cpu = time.monotonic, time.process_time
        self._look = resource.getrusage
        self._cpu = self._children = 0.0
        self._peak, self._looked = 0, -inf
        self.cpu()
        self.growth()

    def cpu(self) -> float:
        """Seconds of CPU since this was last asked."""
        if self._clock() - self._looked >= _BRIEF:
            children = self._look(resource.RUSAGE_CHILDREN)
            self._children = children.ru_utime + children.ru_stime
        before, self._cpu = self._cpu, self._own_cpu() + self._children
        return self._cpu - before

    def growth(self) -> int:
        """By how many bytes the peak of the memory has grown since this was last asked."""
        now = self._clock()
        if now - self._looked < _BRIEF:
            return 0
        before, self._looked = self._peak, now
        self._peak = self._look(resource.RUSAGE_SELF).ru_maxrss * _UNIT
        return self._peak - before


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
