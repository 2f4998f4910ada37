"""Reads the events of a run, for the history."""

from __future__ import annotations

from collections import defaultdict

from pytest_braid.history.record import FixtureRecord, History, TestRecord
from pytest_braid.model import events as e


class _Seen:
    """What is known of one run of a test."""

    __slots__ = ("cpu", "fixtures", "is_over", "memory", "passed", "phases")

    def __init__(self) -> None:
        self.phases = {"setup": 0.0, "call": 0.0, "teardown": 0.0}
        self.fixtures = 0.0
        """Seconds for what it has set up for others, too, or they for it."""
        self.cpu: float | None = None
        self.memory = 0
        self.passed = True
        self.is_over = False


class Observer:
    """Collects what a run teaches. Of a test that has not come to its end it is nothing."""

    def __init__(self) -> None:
        self._nodeids: tuple[str, ...] = ()
        self._tests: defaultdict[int, _Seen] = defaultdict(_Seen)
        self._fixtures: defaultdict[str, list[float]] = defaultdict(list)

    def event(self, event: e.Event) -> None:
        """Take in what has happened."""
        match event:
            case e.Reported():
                seen = self._tests[event.test]
                if event.when in seen.phases:
                    seen.phases[event.when] += event.duration
                seen.passed &= event.outcome == "passed"
            case e.Finished():
                seen = self._tests[event.test]
                seen.cpu, seen.memory, seen.is_over = event.cpu, event.memory, True
                seen.fixtures += event.waited
            case e.FixtureSetUp():
                self._tests[event.test].fixtures += event.seconds
                self._fixtures[event.fixture].append(event.seconds)
            case e.TestsCollected():
                self._nodeids = event.nodeids
            case _:
                pass

    def command(self, command: object, at: float) -> None:
        """What is decided is no matter of it."""

    @property
    def run(self) -> History:
        """What the run has taught, as if it was the first."""
        tests = {self._nodeid(test): _record(seen) for test, seen in self._over()}
        fixtures = {
            name: FixtureRecord(sum(took) / len(took)) for name, took in self._fixtures.items()
        }
        return History(tests, fixtures)

    @property
    def unsure(self) -> set[str]:
        """The tests that have not passed."""
        return {self._nodeid(test) for test, seen in self._over() if not seen.passed}

    def _over(self) -> list[tuple[int, _Seen]]:
        return [(test, seen) for test, seen in self._tests.items() if seen.is_over]

    def _nodeid(self, test: int) -> str:
        return self._nodeids[test % len(self._nodeids)]


def _record(seen: _Seen) -> TestRecord:
    """Fixtures that are set up for others, too, are no time of the test's own. What it computes
    for them is, as nobody knows how much that is: the share of waiting is that of all."""
    setup, call, teardown = seen.phases.values()
    total = setup + call + teardown
    waits = None
    if seen.cpu is not None and total > 0:
        waits = round(max(0.0, 1 - seen.cpu / total), 3)
    own = max(0.0, setup - seen.fixtures)
    return TestRecord(round(own, 6), round(call, 6), round(teardown, 6), waits, seen.memory)
