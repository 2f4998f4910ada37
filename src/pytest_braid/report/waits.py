"""What tests waited for, how long, and because of whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from pytest_braid.model.commands import Assign, Command, Wait
from pytest_braid.model.events import Revoked
from pytest_braid.model.needs import PLAIN, Needs

Key = TypeVar("Key")

_Key = tuple[Needs, int]
"""What tests need, and, of those that run alone, of which copy they are (``--dist each``)."""

_MOST = 5
"""Tests that are named of those that were waited for: those who took longest."""


class Span(NamedTuple):
    """From ``start`` to ``end`` tests that need the same lacked ``what``, because of others."""

    start: float
    end: float
    what: str
    by: tuple[int, ...]
    test: int
    """The first of them in line."""


class Waits:
    """Reads the scheduler's commands: of tests that need the same only the first in line is told to
    wait, and the others wait with it. ``at`` is in seconds of the monotonic clock."""

    def __init__(self, nodeids: Sequence[str], needs: Mapping[int, Needs]) -> None:
        """``nodeids`` are those of the tests, by their numbers; ``needs`` of those that need more
        than a worker. Numbers behind the last are of further copies of them."""
        self._nodeids = nodeids
        self._needs = needs
        self._open: dict[_Key, tuple[float, Wait]] = {}
        self._spans: defaultdict[_Key, list[Span]] = defaultdict(list)
        self._dealt: dict[int, float] = {}

    def event(self, event: object) -> None:
        """Take in what has happened: who was dealt, and is no longer, may wait again."""
        if isinstance(event, Revoked):
            for test in event.tests:
                self._dealt.pop(test, None)

    def _of(self, test: int) -> _Key:
        copy, number = divmod(test, len(self._nodeids) or 1)
        needs = self._needs.get(number, PLAIN)
        return needs, 0 if needs.circle is None else copy

    def command(self, command: Command, at: float) -> None:
        """Take in what the scheduler has decided."""
        match command:
            case Wait() if command.test in self._dealt:
                pass  # it was found to lack something before it was found to have it
            case Wait():
                self._close(command.test, at)
                self._open[self._of(command.test)] = at, command
            case Assign():
                for test in command.tests:
                    self._close(test, at)
                    self._dealt[test] = at
            case _:
                pass

    def _close(self, test: int, at: float) -> None:
        start, wait = self._open.pop(self._of(test), (at, None))
        if wait is not None:
            self._spans[self._of(test)].append(Span(start, at, wait.what, wait.by, wait.test))

    def spans(self) -> list[Span]:
        """All of them, as they began."""
        return sorted(span for spans in self._spans.values() for span in spans)

    def lines(self, test: int) -> list[str]:
        """What the test waited for, the longest first."""
        dealt = self._dealt.get(test)
        spans = [
            span for span in self._spans[self._of(test)] if dealt is None or span.start < dealt
        ]
        if not spans:
            return []
        kinds = {span.what: 0.0 for span in spans}
        for span in spans:
            kinds[span.what] += span.end - span.start
        total = f"waited {sum(kinds.values()):.2f} s" + ("" if dealt else ", and has not run")
        return [total, *(self._line(what, kinds[what], spans) for what in _longest(kinds))]

    def _line(self, what: str, seconds: float, spans: Sequence[Span]) -> str:
        shares: defaultdict[int, float] = defaultdict(float)
        for span in spans:
            for test in span.by if span.what == what else ():
                shares[test] += span.end - span.start
        named = [
            f"{self._nodeids[test % len(self._nodeids)]} ({shares[test]:.2f} s)"
            for test in _longest(shares)
        ]
        more = len(named) - _MOST
        who = ", ".join(named[:_MOST]) + (f" and {more} more" if more > 0 else "")
        return f"{seconds:.2f} s for {what}, because of {who}"


def _longest(seconds: Mapping[Key, float]) -> list[Key]:
    return sorted(seconds, key=lambda key: -seconds[key])
