"""``-x`` and ``--maxfail`` over all workers at once, without asking the controller.

Each worker's session counts its own failures, and the controller's order to stop comes when others
have run many tests more. So the counts lie in memory that all workers share: who is about to begin
a test sees that there have been enough. Before a failure counts, pytest makes its report, which
takes as long as many short tests: until then it is a doubt, and nobody begins another test if that
could be one too many.
"""

from __future__ import annotations

import mmap
import os
import threading
import time

import pytest

_PLACES = 512
"""Places for counts. Slots of higher numbers, after hundreds of crashes, share one in turn."""

_PATIENCE = 1.0
"""Seconds that a worker waits for a doubt to be settled: its worker may have died, or be in a long
teardown."""

_PAUSE = 0.0005
"""Seconds between two looks at it."""


class Tally:
    """A count and a doubt for each slot, in a file that all workers map. Only the one worker in the
    slot writes them, so nothing is lost."""

    def __init__(self, descriptor: int) -> None:
        size = 2 * 4 * _PLACES
        if os.fstat(descriptor).st_size < size:
            os.truncate(descriptor, size)
        both = memoryview(mmap.mmap(descriptor, size)).cast("I")
        self._counts, self._doubts = both[:_PLACES], both[_PLACES:]

    def add(self, slot: int, count: int) -> None:
        self._counts[slot % _PLACES] += count

    def total(self) -> int:
        return sum(self._counts)

    def doubt(self, slot: int, count: int) -> None:
        self._doubts[slot % _PLACES] = count

    def doubts(self) -> int:
        return sum(self._doubts)


class Limit:
    """One worker's view."""

    def __init__(self, session: pytest.Session, tally: Tally, slot: int) -> None:
        self._session = session
        self._tally = tally
        self._slot = slot
        self._before = self._noted = session.testsfailed  # of the collection, common to all
        self._most: int = session.config.getoption("maxfail", 0)
        self._doubtful: set[pytest.Item] = set()
        self._lock = threading.Lock()
        self._tally.doubt(slot, 0)  # a predecessor may have died of it

    def doubt(self, item: pytest.Item) -> None:
        """The running test seems to have failed. Settled with its end."""
        if self._most:
            with self._lock:
                self._doubtful.add(item)
                self._tally.doubt(self._slot, len(self._doubtful))

    def note(self, item: pytest.Item) -> None:
        """A test is over: tell the others how many have failed here."""
        if self._most:
            failed = self._session.testsfailed
            self._tally.add(self._slot, failed - self._noted)
            self._noted = failed
            with self._lock:
                self._doubtful.discard(item)
                self._tally.doubt(self._slot, len(self._doubtful))

    def is_doubtful(self) -> bool:
        """Whether a test that runs here has to end first, for it may be the last one."""
        return bool(self._doubtful) and self._has_failed_enough(self._tally.doubts())

    def is_reached(self) -> bool:
        """Whether another test would be one too many; waits for doubts, if they decide it. Those
        of this worker would last as long as it waits."""
        if not self._most:
            return False
        latest = _clock() + _PATIENCE
        while not self._has_failed_enough():
            is_open = self._has_failed_enough(self._tally.doubts())
            if not is_open or self._doubtful or _clock() > latest:
                return False
            _sleep(_PAUSE)
        return True

    def _has_failed_enough(self, doubts: int = 0) -> bool:
        return self._before + self._tally.total() + doubts >= self._most


# Bound before a test can patch the module.
_clock, _sleep = time.monotonic, time.sleep
