"""When a worker must be done, and what is done to it if it is not."""

from __future__ import annotations

from collections.abc import Container, Hashable
from enum import Enum
from typing import Generic, TypeVar

import msgspec

GRACE = 1.0
"""Seconds that a worker has for each step of its end: to write its stacks, to die of SIGTERM."""

_PATIENCE = 100
"""How often an overdue worker that has just said something is heard again, in case that it was
done in time: some kilobytes each. A test that only talks ends all the same."""


W = TypeVar("W", bound=Hashable)
"""A worker, or what stands for it."""


class Step(Enum):
    """The steps of a worker's end."""

    STACKS = "it is asked for its stacks, and begins no other test"
    TERM = "SIGTERM"
    KILL = "SIGKILL"


_NEXT = {Step.STACKS: Step.TERM, Step.TERM: Step.KILL, Step.KILL: None}


class _Clock(msgspec.Struct):
    due: float
    """When ``step`` is to be taken."""
    step: Step = Step.STACKS
    stopped: float | None = None
    """Since when it stands still."""
    patience: int = _PATIENCE


class Deadlines(Generic[W]):
    """The clocks of the workers that have one. A worker that may take 3 seconds, and hangs::

        start(0, 10.0, 3.0)
        next()               13.0
        stop(0, 11.0)                         it waits for us, which is not its test's time
        go_on(0, 11.5)
        due(13.5, ())        (0, STACKS)
        due(14.5, ())        (0, TERM)        if it is still there: otherwise ``clear(0)``
        due(15.5, ())        (0, KILL)
        next()               None

    Times are given, in seconds; no clock is read.
    """

    def __init__(self) -> None:
        self._clocks: dict[W, _Clock] = {}

    def start(self, worker: W, at: float, seconds: float) -> None:
        self._clocks[worker] = _Clock(at + seconds)

    def extend(self, worker: W, due: float) -> None:
        """Nothing is due before this time, if nothing has been done yet."""
        clock = self._clocks.get(worker)
        if clock is not None and clock.step is Step.STACKS:
            clock.due = max(clock.due, due)

    def stop(self, worker: W, at: float) -> None:
        """Let its clock stand still."""
        clock = self._clocks.get(worker)
        if clock is not None and clock.step is Step.STACKS and clock.stopped is None:
            clock.stopped = at

    def go_on(self, worker: W, at: float) -> None:
        """Let its clock run again, if it stands still."""
        clock = self._clocks.get(worker)
        if clock is not None and clock.stopped is not None:
            clock.due += max(0.0, at - clock.stopped)
            clock.stopped = None

    def clear(self, worker: W) -> None:
        """It was done in time, or it is gone."""
        self._clocks.pop(worker, None)

    def next(self) -> float | None:
        """When something is due next."""
        running = [clock.due for clock in self._clocks.values() if clock.stopped is None]
        return min(running, default=None)

    def due(self, at: float, talking: Container[W]) -> list[tuple[W, Step]]:
        """The steps to take, each told once.

        ``talking`` are the workers that have said something just now: there may be more behind it,
        and so they are not overdue yet.
        """
        steps = []
        for worker, clock in list(self._clocks.items()):
            if clock.stopped is not None or clock.due > at:
                continue
            if clock.step is Step.STACKS and worker in talking and clock.patience:
                clock.patience -= 1
                continue
            steps.append((worker, clock.step))
            self._advance(worker, clock, at)
        return steps

    def _advance(self, worker: W, clock: _Clock, at: float) -> None:
        following = _NEXT[clock.step]
        if following is None:
            del self._clocks[worker]
        else:
            clock.step, clock.due = following, at + GRACE
