"""How many tests are of any use at once."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Final

SHORT: Final = 0.005
"""Seconds for which it is looked, at least, until it is said whether tests wait."""

LONG: Final = 0.05
"""Seconds after which a test is taken to wait, whatever it does: code without Python's lock can
compute so long."""

IDLE: Final = 0.5
BUSY: Final = 0.9
"""Seconds of CPU in a second: with less, tests wait, and with more, one more would only wait."""

_MOST: Final = LONG

_HAS_LOCK: Final = getattr(sys, "_is_gil_enabled", lambda: True)()


class Usage:
    """What this process has had of the processors."""

    def __init__(self) -> None:
        self._look = resource.getrusage  # bound before a test can patch the module

    def __call__(self) -> tuple[float, int]:
        """Seconds of CPU, and how often the processor was taken away from a thread that computed,
        by another one or another process."""
        found = self._look(resource.RUSAGE_SELF)
        return found.ru_utime + found.ru_stime, found.ru_nivcsw


class Pace:
    """Lets as many tests run at once as keep the interpreter busy, of which one thread computes at
    a time. So short tests that compute run one after another, which takes less, and keeps their
    order. It begins with one. If the process is idle while tests run, twice as many may run from
    then on, and one less if it computes all the time::

        a begins        the first
        5 ms            idle: two may run, and b begins beside a
        10 ms           idle: four may run, c and d begin
        15 ms           they compute: three may run
        17 ms           a is over, and e does not begin before another one is, too

    Tests that take long are not counted. Where threads compute at the same time, all may begin at
    once.

    No outcome depends on it. Times are in seconds.
    """

    def __init__(
        self, usage: Callable[[], tuple[float, int]] | None = None, *, has_lock: bool = _HAS_LOCK
    ) -> None:
        self._usage = usage or Usage()
        self._has_lock = has_lock
        self._began: dict[int, float] = {}
        """When the tests began that run, in that order."""
        self._room = 1
        """How many may run."""
        self._looked, self._seen = 0.0, (0.0, 0)
        """When it was last looked, and what was seen."""
        self._pause = SHORT

    def begin(self, test: int, now: float) -> None:
        if not self._began and now - self._looked >= SHORT:  # nothing has run until now
            self._looked, self._seen = now, self._usage()
        self._began[test] = now

    def end(self, test: int, now: float) -> None:
        self.look(now)
        del self._began[test]

    def look(self, now: float) -> None:
        """Find out whether tests wait, if it is time."""
        seconds = now - self._looked
        if seconds < SHORT or not self._has_lock:
            return
        (cpu, lost), self._seen = self._seen, self._usage()
        share, lost = (self._seen[0] - cpu) / seconds, self._seen[1] - lost
        self._looked = now
        if share < IDLE:
            if not lost and len(self._began) >= self._room:
                self._room *= 2
                self._pause = SHORT
        elif lost or share > BUSY:
            self._room = max(1, self._room - 1)

    def has_room(self, now: float) -> bool:
        """Whether one more is to begin now."""
        if not self._has_lock or len(self._began) < self._room:
            return True
        short = 0
        for began in self._began.values():
            short += now - began < LONG
        return short < self._room

    def pause(self) -> float:
        """Seconds after which to look again, while no test is over. They become more as long as
        none seems to wait, for to look costs time, too."""
        pause, self._pause = self._pause, min(2 * self._pause, _MOST)
        return pause
