"""When a run with ``-n adaptive`` gets more workers, and how many."""

from __future__ import annotations

from typing import Final

from pytest_braid.model.events import Measured

SPARE = 0.25
"""Share of the cores that must be idle for more workers to come."""

FULL = 0.9
"""Share of the cores that they are to keep busy at most, as far as can be foreseen."""

COMPUTING = 0.5
"""Share of its time in which a worker computes whose tests do not mostly wait."""

PATIENT = 2
"""Measurements in a row that must speak for more workers: one may have met a pause."""

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

    Nobody is sent home when cores become busy: who waits costs nothing but memory.
    """

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._favourable = 0
        self._is_settling = False

    def more(self, seen: Measured, workers: int, work: int) -> int:
        """How many workers to start, where there are so many and so much to do for others."""
        if self._is_settling:
            self._is_settling = False
            self._favourable = 0
            return 0
        if not self._speaks_for_more(seen, workers):
            self._favourable = 0
            return 0
        self._favourable += 1
        count = min(self._room(seen, workers), work, workers, self._most - workers)
        if self._favourable < PATIENT or count <= 0:
            return 0
        self._is_settling = True
        return count

    @staticmethod
    def _speaks_for_more(seen: Measured, workers: int) -> bool:
        idle = seen.cores - max(seen.busy, seen.cpu)
        return idle >= SPARE * seen.cores and seen.cpu < COMPUTING * workers

    @staticmethod
    def _room(seen: Measured, workers: int) -> int:
        """For how many there are cores and memory, if they are like those who are there."""
        share = max(seen.cpu / workers, _LEAST_SHARE)
        cores = (FULL * seen.cores - max(seen.busy, seen.cpu)) / share
        memory = (seen.free - MEMORY_LEFT * seen.memory) / max(seen.each, 1)
        return int(min(cores, memory))
