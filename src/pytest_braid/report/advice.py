"""What a run with more at once would have brought, where tests waited most of the time."""

from __future__ import annotations

from typing import NamedTuple

from pytest_braid.model import events as e

MOSTLY = 0.5
"""Share of its time in which tests must have waited for anything to be said."""

_WORTH = 0.75
"""Of the seconds that the run has taken: a gain that is smaller is not worth a line."""

_SHORT = 2.0
"""Seconds of a run that is over soon enough."""


class Way(NamedTuple):
    """An option, and how many tests run at once with it."""

    option: str
    lanes: int


class Advice:
    """Reads the events of a run. ``ways`` are what there is to advise, the simplest first; the run
    may use so many ``cores``."""

    def __init__(self, ways: tuple[Way, ...], cores: int) -> None:
        self._ways = ways
        self._cores = cores
        self._began: dict[int, float] = {}
        self._first: float | None = None
        self._last = 0.0
        self._start = 0.0
        self.seconds = 0.0
        """Of all tests, one behind the other."""
        self.cpu = 0.0
        """Seconds of these in which they computed."""
        self._longest = 0.0

    def event(self, event: e.Event) -> None:
        """Take in what has happened."""
        match event:
            case e.Started():
                self._began[event.test] = event.at
                self._first = event.at if self._first is None else self._first
            case e.Finished() if event.test in self._began:
                took = event.at - self._began.pop(event.test)
                self.seconds += took
                self.cpu += took if event.cpu is None else min(took, event.cpu)
                self._longest = max(self._longest, took)
                self._last = event.at
            case e.RunStarted():
                self._start = event.at
            case _:
                pass

    def command(self, command: object, at: float) -> None:
        """What is decided is no matter of it, but what happens."""

    @property
    def waited(self) -> float:
        """The share of their time in which tests waited, from 0 to 1."""
        return 1 - self.cpu / self.seconds if self.seconds else 0.0

    def estimate(self, lanes: int) -> float:
        """Seconds of the run, if so many tests had run at once: no sooner than the longest test,
        and what is to be computed, are over."""
        before = (self._first or self._start) - self._start
        return before + max(self._longest, self.seconds / lanes, self.cpu / self._cores)

    @property
    def best(self) -> float:
        """Seconds of the run with the best of the ways."""
        return min(self.estimate(way.lanes) for way in self._ways)

    def line(self) -> str | None:
        """What to try, if anything."""
        took = self._last - self._start
        if self.waited < MOSTLY or took < _SHORT:
            return None
        told = [
            f"{way.option}, about {_rounded(self.estimate(way.lanes))}"
            for way in self._ways
            if self.estimate(way.lanes) < _WORTH * took
        ]
        if not told:
            return None
        return f"tests waited {self.waited:.0%} of the time: try {', or '.join(told)}"


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 2 else f"{seconds:.1f} s"  # noqa: PLR2004
