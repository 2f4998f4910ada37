"""How many tests are of any use at once."""

from __future__ import annotations

from itertools import takewhile

SHORT = 0.002
"""Seconds that a test runs for before it is taken to wait for something."""

_MOST = 8 * SHORT


class Pace:
    """Lets short tests run one after another: one thread of an interpreter computes at a time, so
    side by side they take longer, and lose their order. Beside tests that seem to wait, as many
    more may begin::

        a begins        the first
        2 ms            a seems to wait: b begins
        3 ms            b is over, and c begins
        4 ms            c is over, and d begins
        6 ms            a and d seem to wait: e and f begin

    Where threads compute at the same time (``has_lock`` is false), all may begin at once. Times are
    in seconds.
    """

    def __init__(self, *, has_lock: bool) -> None:
        self._has_lock = has_lock
        self._began: dict[int, float] = {}
        """When the tests began that run, in that order."""
        self._pause = SHORT

    def begin(self, test: int, now: float) -> None:
        self._began[test] = now

    def end(self, test: int) -> None:
        del self._began[test]

    def has_room(self, now: float) -> bool:
        """Whether one more is to begin now."""
        if not self._has_lock:
            return True
        latest = now - SHORT
        young = sum(1 for _ in takewhile(latest.__lt__, reversed(self._began.values())))
        waiting = len(self._began) - young
        if waiting:
            self._pause = SHORT
        return not young or young < waiting

    def pause(self) -> float:
        """Seconds after which to ask again, while no test is over. They become more as long as none
        seems to wait, for to ask costs time, too."""
        pause, self._pause = self._pause, min(2 * self._pause, _MOST)
        return pause
