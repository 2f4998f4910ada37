"""``-x`` and ``--maxfail`` over all workers at once, without asking the controller.

Each worker's session counts its own failures, and the controller's order to stop comes when others
have run many tests more. So the counts lie in memory that all workers share: who is about to begin
a test sees that there have been enough.
"""

from __future__ import annotations

import mmap
import os

import pytest

_PLACES = 512
"""Places for counts. Slots of higher numbers, after hundreds of crashes, share one in turn."""


class Tally:
    """A count for each slot, in a file that all workers map."""

    def __init__(self, descriptor: int) -> None:
        size = 4 * _PLACES
        if os.fstat(descriptor).st_size < size:
            os.truncate(descriptor, size)
        self._counts = memoryview(mmap.mmap(descriptor, size)).cast("I")

    def add(self, slot: int, count: int) -> None:
        """Only the one worker in the slot writes its count, so nothing is lost."""
        self._counts[slot % _PLACES] += count

    def total(self) -> int:
        return sum(self._counts)


class Limit:
    """One worker's view."""

    def __init__(self, session: pytest.Session, tally: Tally, slot: int) -> None:
        self._session = session
        self._tally = tally
        self._slot = slot
        self._before = self._noted = session.testsfailed  # of the collection, common to all
        self._most: int = session.config.getoption("maxfail", 0)

    def note(self) -> None:
        """Tell the others how many tests have failed here."""
        if self._most:
            failed = self._session.testsfailed
            self._tally.add(self._slot, failed - self._noted)
            self._noted = failed

    def is_reached(self) -> bool:
        return bool(self._most) and self._before + self._tally.total() >= self._most
