"""How far a run is: what a status block, or a line in a log, says of it while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pytest_braid.model import commands as c
from pytest_braid.model import events as e

SLOW = 5.0
"""Seconds after which a test may be called slow."""

_TIMES = 4
"""How many times as long as expected it takes then, at least."""

_ENOUGH = 3
"""Tests that must be over before anything is said of the rest."""

_FAILURES = 3
"""Failures that are shown, the latest ones."""

_NAMED = 3
"""Running tests that are named in a line."""

_MINUTE, _HOUR = 60, 3600


class Part(NamedTuple):
    """A piece of a line, and how it looks: ``bold``, ``red``, ``yellow``, ``light`` or nothing."""

    text: str
    look: str = ""


class Name(NamedTuple):
    """The piece of a line that gives way where there is no room: its beginning is left out."""

    text: str
    look: str = ""


Line = Sequence[Part | Name]


class _Running(NamedTuple):
    since: float
    worker: int
    strand: int
    test: int


class Progress:
    """Reads the events of a run. ``by_count``: it is told in tests, not in percent
    (``console_output_style = count``). ``expected`` are seconds that tests took in earlier runs.
    """

    def __init__(
        self,
        nodeids: Sequence[str],
        total: int,
        expected: Sequence[float | None],
        *,
        by_count: bool,
    ) -> None:
        self._nodeids = nodeids
        self._total = total
        self._by_count = by_count
        self._expected = expected
        self._left = sum(it for it in expected if it is not None)
        self._unknown = total - sum(it is not None for it in expected)
        self._over: set[int] = set()
        self._slots: dict[int, int] = {}
        self._running: dict[tuple[int, int], _Running] = {}
        self._worked = 0.0
        self._strangers = 0
        self._of_strangers = 0.0
        self._began: float | None = None
        self.latest = 0.0
        """When a test has ended last, or the first began."""
        self._failures: list[tuple[str, str]] = []
        self._failed = 0

    # --- reading ------------------------------------------------------------------------------

    def event(self, event: e.RunEvent) -> None:
        """Take in what has happened."""
        match event:
            case e.Started():
                if self._began is None:
                    self._began = self.latest = event.at
                running = _Running(event.at, event.worker, event.strand, event.test)
                self._running[event.worker, event.test] = running
            case e.Finished():
                self._end(event.worker, event.test, event.at)
            case e.WorkerDied():
                for key in [key for key in self._running if key[0] == event.worker]:
                    if key[1] == event.running:
                        self._end(*key, event.at)
                    else:
                        del self._running[key]
            case _:
                pass

    def command(self, command: c.Command, at: float) -> None:  # noqa: ARG002 -- of every reader
        """Take in what the scheduler has decided."""
        if isinstance(command, c.StartWorker):
            self._slots[command.worker] = command.slot

    def failed(self, nodeid: str, why: str) -> None:
        """A test has failed, or its setup or teardown; ``why`` in one line."""
        self._failed += 1
        self._failures = [*self._failures, (nodeid, why)][-_FAILURES:]

    def _end(self, worker: int, test: int, at: float) -> None:
        running = self._running.pop((worker, test), None)
        if running is None:
            return
        took = at - running.since
        self._worked += took
        self.latest = max(self.latest, at)
        if test in self._over:
            return
        self._over.add(test)
        known = self._known(test)
        if known is None:
            self._unknown -= 1
            self._strangers += 1
            self._of_strangers += took
        else:
            self._left -= known

    # --- telling ------------------------------------------------------------------------------

    def remaining(self, at: float) -> float | None:
        """Seconds until the end, if as many tests run at once as until now; ``None`` where too
        little is known."""
        if self._began is None or len(self._over) < min(_ENOUGH, self._total) or at <= self._began:
            return None
        ages = [(it, at - it.since) for it in self._running.values()]
        at_once = (self._worked + sum(age for _, age in ages)) / (at - self._began)
        work = self._left + self._unknown * self._mean
        work -= sum(min(age, self._usual(it.test)) for it, age in ages)
        longest = max((self._usual(it.test) - age for it, age in ages), default=0.0)
        return max(0.0, longest, work / max(at_once, 0.1))

    def block(self, at: float, rows: int) -> list[Line]:
        """Up to so many lines, of which one is always there."""
        lines: list[Line] = [self._head(at)]
        failures = self._failures[-max(0, min(_FAILURES, rows // 3)) :] if rows > 1 else []
        room = rows - 1 - len(failures)
        running = sorted(self._running.values())
        shown = running if len(running) <= room else running[: max(0, room - 1)]
        lines += [self._row(it, at) for it in sorted(shown, key=self._place)]
        if len(shown) < len(running) and room > 0:
            lines.append([Part(f"  and {len(running) - len(shown)} more", "light")])
        lines += [
            [Part("  FAILED ", "red"), Name(nodeid), Part(_why(why))] for nodeid, why in failures
        ]
        return lines

    def line(self, at: float) -> str:
        """The same in one line of text, with the tests that have run for longest."""
        head = "".join(part.text for part in self._head(at))
        running = sorted(self._running.values())
        named = [
            f"{self._nodeid(it.test)} ({self._worker(it)}, {span(at - it.since)})"
            for it in running[:_NAMED]
        ]
        more = f" and {len(running) - _NAMED} more" if len(running) > _NAMED else ""
        return f"braid: {head}" + (f"; running: {', '.join(named)}{more}" if named else "")

    def _head(self, at: float) -> list[Part]:
        over, total = len(self._over), self._total
        done = (
            f"{over}/{total} tests"
            if self._by_count
            else f"{100 * over // total}% of {total} tests"
        )
        parts = [Part(done, "bold"), Part(f", {span(at - (self._began or at))}")]
        remaining = self.remaining(at)
        if remaining is not None and over < total:
            parts.append(Part(f", about {span(remaining)} left"))
        if self._failed:
            parts += [Part(", "), Part(f"{self._failed} failed", "red")]
        return parts

    def _row(self, it: _Running, at: float) -> Line:
        age = at - it.since
        is_slow = age >= max(SLOW, _TIMES * self._usual(it.test))
        look = "yellow" if is_slow else ""
        aged = f"{age:.1f} s" if age < _MINUTE else span(age)
        parts: list[Part | Name] = [
            Part(f"  {self._worker(it):<4} {aged:>7}  ", look or "light"),
            Name(self._nodeid(it.test), look),
        ]
        return [*parts, Part("  slow", look)] if is_slow else parts

    def _place(self, it: _Running) -> tuple[int, int, int]:
        return self._slots.get(it.worker, it.worker), it.strand, it.test

    def _worker(self, it: _Running) -> str:
        slot = self._slots.get(it.worker, it.worker)
        return f"gw{slot}.{it.strand}" if it.strand else f"gw{slot}"

    def _nodeid(self, test: int) -> str:
        return self._nodeids[test % len(self._nodeids)]

    def _known(self, test: int) -> float | None:
        return self._expected[test] if test < len(self._expected) else None  # of no copy

    def _usual(self, test: int) -> float:
        known = self._known(test)
        return self._mean if known is None else known

    @property
    def _mean(self) -> float:
        """Of tests of which nothing was known before."""
        if self._strangers:
            return self._of_strangers / self._strangers
        return self._worked / len(self._over) if self._over else 0.0


def span(seconds: float) -> str:
    """``12 s``, ``3:07`` or ``1:02:03``."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    hours, rest = divmod(whole, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _why(why: str) -> str:
    return f" - {why}" if why else ""
