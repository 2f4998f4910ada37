"""``-x`` and ``--maxfail`` over all workers at once, without asking the controller.

Each worker's session counts its own failures, and the controller's order to stop comes when others
have run many tests more. So the counts lie in memory that all workers share: who is about to begin
a test sees that there have been enough.
"""

from __future__ import annotations

import mmap

import pytest

_WORKERS = 512
"""Places for counts. Workers of higher numbers, after hundreds of crashes, share one in turn."""


class Tally:
    """A count for each worker; made before they are forked, and inherited."""

    def __init__(self) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * _WORKERS)).cast("I")

    def put(self, worker: int, count: int) -> None:
        """Only its worker writes a count, so none is lost."""
        self._counts[worker % _WORKERS] = count

    def total(self) -> int:
        return sum(self._counts)


class Limit:
    """One worker's view."""

    def __init__(self, session: pytest.Session, tally: Tally, worker: int) -> None:
        self._session = session
        self._tally = tally
        self._worker = worker
        self._before = session.testsfailed  # of the collection, which all have in common
        self._most: int = session.config.getoption("maxfail", 0)

    def note(self) -> None:
        """Tell the others how many tests have failed here."""
        if self._most:
            self._tally.put(self._worker, self._session.testsfailed - self._before)

    def is_reached(self) -> bool:
        return bool(self._most) and self._before + self._tally.total() >= self._most
