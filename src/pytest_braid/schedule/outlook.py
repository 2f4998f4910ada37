"""How long tests will take and fixtures will cost: from earlier runs, corrected by this one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pytest_braid.model.estimates import NOTHING_KNOWN, Estimates
from pytest_braid.model.tests import TestSpec

TYPICAL = 0.01
"""Seconds of a test, as long as nothing is known of any."""

ASSUMED = 0.1
"""Seconds of the setup of a fixture with parameters that is shared: nobody would share it if it
cost nothing. Others are not kept together before they have been seen to cost something."""

CHEAP = 0.01
"""Seconds of a setup that is not worth a thought."""

DEAR = 0.05
"""Seconds of a setup that nobody expected, with which to think again."""

_LEAST = 1e-6
"""Seconds that every test takes."""


class Bound(NamedTuple):
    """Tests that are kept together in ``pieces``, for what setting up ``instance`` costs."""

    instance: int
    pieces: int


class Outlook:
    """Seconds of tests and of instances, by their numbers.

    Where no duration is known all tests count alike, and as many seconds as those take on average
    that are over.
    """

    def __init__(
        self, specs: Sequence[TestSpec] = (), estimates: Estimates = NOTHING_KNOWN
    ) -> None:
        known = sorted(duration for duration in estimates.durations if duration is not None)
        self.is_known = bool(known)
        """Whether durations are."""
        self._durations = [
            None if each is None else max(_LEAST, each) for each in estimates.durations
        ]
        self._typical = max(_LEAST, known[len(known) // 2]) if known else TYPICAL
        self._fixtures = {spec.index: spec.fixtures for spec in specs if spec.fixtures}
        self._names = [instance.fixture for instance in estimates.instances]
        self._costs = {
            instance.fixture: ASSUMED if instance.setup is None else instance.setup
            for instance in estimates.instances
            if instance.setup is not None or instance.is_parametrized
        }
        self._setups: dict[str, tuple[int, float]] = {}
        self._users = Counter(one for used in self._fixtures.values() for one in used)

    def seconds(self, test: int) -> float:
        """Of a test that was never seen: as much as one in the middle takes."""
        known = self._durations[test] if test < len(self._durations) else None
        return self._typical if known is None else known

    def all_seconds(self, tests: Iterable[int]) -> float:
        known = self._durations
        found = [known[test] if test < len(known) else None for test in tests]
        # As ``seconds``, without a call for each: a queue is weighed whenever a test is over.
        return sum([self._typical if each is None else each for each in found])

    def note_pace(self, mean: float) -> None:
        """Tests take this long, in this run."""
        if not self.is_known:
            self._typical = max(_LEAST, mean)

    def instances(self, test: int) -> tuple[int, ...]:
        """What the test shares with others."""
        return self._fixtures.get(test, ())

    def are_close(self, one: int, other: int, most: float) -> bool:
        """Whether two tests share an instance that may be dear, for all that is known, and that no
        more than ``most`` tests use."""
        others = self.instances(other)
        return any(
            instance in others
            and self._users[instance] <= most
            and self._costs.get(self._names[instance], ASSUMED) > CHEAP
            for instance in self.instances(one)
        )

    def cost(self, instance: int) -> float:
        """Seconds of its setup."""
        return self._costs.get(self._names[instance], 0.0)

    def learn(self, fixture: str, seconds: float) -> bool:
        """Take note of a setup; returns whether it is dearer than anybody expected."""
        count, mean = self._setups.get(fixture, (0, 0.0))
        mean += (seconds - mean) / (count + 1)
        self._setups[fixture] = count + 1, mean
        before = self._costs.get(fixture, 0.0)
        self._costs[fixture] = mean
        return before < DEAR <= mean

    def named(self, test: int, fixture: str) -> int | None:
        """The instance of this fixture that the test uses, if others use it, too."""
        return next((one for one in self.instances(test) if self._names[one] == fixture), None)

    def bound(self, tests: Iterable[int], workers: int, strands: int) -> dict[int, Bound]:
        """Which of these tests to keep together, among so many workers.

        A fixture with its users is one chain, unless the run ends sooner if several workers set it
        up: if it is used for most of the run each of them will do so anyway.
        """
        users: dict[int, list[int]] = {}
        total = 0.0
        for test in tests:
            total += self.seconds(test)
            for instance in self.instances(test):
                users.setdefault(instance, []).append(test)
        dear = [one for one in users if len(users[one]) > 1 and self.cost(one) > CHEAP]
        total += sum(map(self.cost, dear))
        found: dict[int, Bound] = {}
        for instance in sorted(dear, key=self.cost):
            chain = self.all_seconds(users[instance])
            pieces = _pieces(chain / strands, self.cost(instance), total / strands, workers)
            if pieces < workers:
                found |= dict.fromkeys(users[instance], Bound(instance, pieces))
        return found


def _pieces(chain: float, cost: float, total: float, workers: int) -> int:
    """In how many parts, each of which needs the setup, the run is over soonest."""

    def end(pieces: int) -> float:
        return max(chain / pieces + cost, (total + (pieces - 1) * cost) / workers)

    return min(range(1, workers + 1), key=end)
