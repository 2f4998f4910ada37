"""Reads the events of a run, for the history."""

from __future__ import annotations

from collections import defaultdict

from msgspec.structs import replace

from pytest_braid.history.record import FixtureRecord, History, TestRecord
from pytest_braid.model import events as e


class Observer:
    """Collects what a run teaches. Of a test that has not come to its end it is nothing."""

    def __init__(self) -> None:
        self._nodeids: tuple[str, ...] = ()
        self._over: dict[int, e.Finished] = {}
        self._made: defaultdict[int, float] = defaultdict(float)
        """Seconds that tests had for what they have set up for others, too."""
        self._fixtures: defaultdict[str, list[float]] = defaultdict(list)

    def event(self, event: e.Event) -> None:
        """Take in what has happened."""
        match event:
            case e.Finished():
                self._over[event.test] = event
            case e.Reported() if event.test in self._over:
                self._note_late(event)
            case e.FixtureSetUp():
                self._made[event.test] += event.seconds
                self._fixtures[event.fixture].append(event.seconds)
            case e.TestsCollected():
                self._nodeids = event.nodeids
            case _:
                pass

    def _note_late(self, event: e.Reported) -> None:
        """What was kept for a next test, and fell to this one."""
        over = self._over[event.test]
        seconds = event.duration if event.when == "teardown" else 0.0
        passed = over.passed and event.outcome == "passed"
        self._over[event.test] = replace(over, teardown=over.teardown + seconds, passed=passed)

    def command(self, command: object, at: float) -> None:
        """What is decided is no matter of it."""

    @property
    def run(self) -> History:
        """What the run has taught, as if it was the first."""
        tests = {
            self._nodeid(test): _record(over, self._made.get(test, 0.0) + over.waited)
            for test, over in self._over.items()
        }
        fixtures = {
            name: FixtureRecord(sum(took) / len(took)) for name, took in self._fixtures.items()
        }
        return History(tests, fixtures)

    @property
    def unsure(self) -> set[str]:
        """The tests that have not passed."""
        return {self._nodeid(test) for test, over in self._over.items() if not over.passed}

    def _nodeid(self, test: int) -> str:
        return self._nodeids[test % len(self._nodeids)]


def _record(over: e.Finished, fixtures: float) -> TestRecord:
    """Fixtures that are set up for others, too, or by them, are no time of the test's own. What it
    computes for them is, as nobody knows how much that is: the share of waiting is that of all."""
    total = over.setup + over.call + over.teardown
    waits = None
    if over.cpu is not None and total > 0:
        waits = round(max(0.0, 1 - over.cpu / total), 3)
    own = max(0.0, over.setup - fixtures)
    return TestRecord(
        round(own, 6), round(over.call, 6), round(over.teardown, 6), waits, over.memory
    )
