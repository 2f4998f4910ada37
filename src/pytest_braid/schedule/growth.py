"""When a run with ``-n adaptive`` gets more workers, and how many."""

from __future__ import annotations

from typing import Final

from pytest_braid.model.events import Measured

SPARE = 0.25
"""Share of the cores that must be idle, in two measurements together, for more workers to come."""

FULL = 0.9
"""Share of the cores that they are to keep busy at most, as far as can be foreseen. Where more of
them are busy in one of the two measurements, the other may have met a pause."""

MEMORY_LEFT = 0.15
"""Share of the machine's memory that stays free."""

_LEAST_SHARE = 0.02
"""Of its time that a worker is taken to compute at least."""


class Growth:
    """From 2 workers to ``most``, on an idle machine of two cores, while tests wait:

        measured    cpu 0.1 of 2 cores     -        once may be chance
        measured    cpu 0.1                2        as many again
        measured    cpu 0.9                -        forking computes, too: this one does not count
        measured    cpu 0.2                -
        measured    cpu 0.2                4        and so on

    There are as many workers as cores at least: where cores are idle, tests wait. Nobody is sent
    home when cores become busy: who waits costs nothing but memory.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._before: Measured | None = None
        self._is_settling = False

    def more(self, seen: Measured, workers: int, work: int) -> int:
        """How many workers to start, where there are so many and so much to do for others."""
        if self._is_settling:
            self._is_settling = False
            return 0
        before, self._before = self._before, seen
        if before is None or min(_idle(before), _idle(seen)) < (1 - FULL) * seen.cores:
            return 0
        if (_idle(before) + _idle(seen)) / 2 < SPARE * seen.cores:
            return 0
        count = min(self._room(before, seen, workers), work, workers, self._most - workers)
        if count <= 0:
            return 0
        self._before, self._is_settling = None, True
        return count

    @staticmethod
    def _room(before: Measured, seen: Measured, workers: int) -> int:
        """For how many there are cores and memory, if they are like those who are there."""
        share = max((before.cpu + seen.cpu) / 2 / workers, _LEAST_SHARE)
        idle = (_idle(before) + _idle(seen)) / 2
        cores = (idle - (1 - FULL) * seen.cores) / share
        memory = (seen.free - MEMORY_LEFT * seen.memory) / max(seen.each, 1)
        return int(min(cores, memory))


def _idle(seen: Measured) -> float:
    """How many cores nobody has kept busy."""
    return seen.cores - max(seen.busy, seen.cpu)
