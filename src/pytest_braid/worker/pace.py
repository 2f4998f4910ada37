"""How many tests are of any use at once."""

from __future__ import annotations

import resource
import sys
import threading
from typing import Final, NamedTuple

SHORT: Final = 0.002
"""Seconds that a test runs for before it may be taken to wait for something."""

LONG: Final = 0.05
"""Seconds after which it is, whatever it does: code without Python's lock can compute so long."""

OPEN: Final = 0.2
"""Seconds for which short tests that wait run beside each other, until it is looked again."""

SAMPLE: Final = 8
"""Short tests that run one after another until it is known whether they wait."""

_MOST: Final = 8 * SHORT

_HAS_LOCK: Final = getattr(sys, "_is_gil_enabled", lambda: True)()

_OF_THREAD: Final = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


class Waits:
    """How often threads have given up the processor by themselves. Who has merely lost it to
    another process does not wait."""

    def __init__(self) -> None:
        # Bound here, before a test can patch the modules.
        self._look, self._identity = resource.getrusage, threading.get_ident

    def of_process(self) -> int:
        return self._look(resource.RUSAGE_SELF).ru_nvcsw

    def of_thread(self) -> tuple[int, int]:
        """This thread, and how often."""
        return self._identity(), self._look(_OF_THREAD).ru_nvcsw


class _Sample(NamedTuple):
    """Short tests that have run one after another in one thread."""

    thread: int
    waits: int
    """How often the thread had waited before the first of them."""
    tests: int


class Pace:
    """Lets short tests that compute run one after another: one thread of an interpreter computes at
    a time, so they take less, and keep their order. Beside tests that seem to wait, as many more
    may begin::

        a begins        the first
        2 ms            a seems to wait: b begins
        3 ms            b is over, and c begins
        4 ms            c is over, and d begins
        6 ms            a and d seem to wait: e and f begin

    A test seems to wait if threads of the process have waited since it began, or after ``LONG``.
    Where short tests wait one after another, all may run at once for a while (``OPEN``).

    Where it is of no use, or threads compute at the same time, all may begin at once.

    Times are in seconds. ``look`` is for the thread that deals tests out, ``end`` for the one that
    has run the test.
    """

    def __init__(
        self, waits: Waits | None = None, *, has_lock: bool = _HAS_LOCK, is_of_use: bool = True
    ) -> None:
        self._waits = waits or Waits()
        self._has_lock = has_lock and is_of_use
        self._began: dict[int, float] = {}
        """When the tests began that run, in that order."""
        self._pause = SHORT
        self._seen = 0
        """How often the process had waited when it was last looked."""
        self._waited_at = 0.0
        """When it was last seen to have waited."""
        self._is_open_until = 0.0
        self._sample: _Sample | None = None

    def begin(self, test: int, now: float) -> None:
        if self._began:
            self._sample = None
        self._began[test] = now

    def end(self, test: int, now: float) -> None:
        del self._began[test]
        if self._began or not self._has_lock or now < self._is_open_until:
            self._sample = None
        elif self._sample is None:
            self._sample = _Sample(*self._waits.of_thread(), 0)
        else:
            self._add_to(self._sample, now)

    def _add_to(self, sample: _Sample, now: float) -> None:
        self._sample = sample = sample._replace(tests=sample.tests + 1)
        if sample.tests < SAMPLE:
            return
        self._sample = None
        thread, waits = self._waits.of_thread()
        if thread == sample.thread and waits - sample.waits >= SAMPLE / 2:
            self._is_open_until = now + OPEN

    def look(self, now: float) -> None:
        """Before it is asked whether there is room: find out whether tests wait. One such wait is
        that of the thread that looks, until now."""
        waits = self._waits.of_process()
        if waits - self._seen > 1:
            self._waited_at = now
        self._seen = waits

    def has_room(self, now: float) -> bool:
        """Whether one more is to begin now."""
        if not (self._has_lock and self._began) or now < self._is_open_until:
            return True
        waiting = sum(
            1
            for began in self._began.values()
            if now - began >= (SHORT if began < self._waited_at else LONG)
        )
        if waiting:
            self._pause = SHORT
        return len(self._began) - waiting < waiting

    def pause(self) -> float:
        """Seconds after which to look again, while no test is over. They become more as long as
        none seems to wait, for to look costs time, too."""
        pause, self._pause = self._pause, min(2 * self._pause, _MOST)
        return pause
