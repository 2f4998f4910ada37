"""Who holds what: resources, places to run, the right to run alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from pytest_braid.model.needs import ALONE, CPUS, Hold, Lack, Needs


class _Holding(msgspec.Struct, eq=False):
    """What tests hold that one strand runs one after the other, all of them with the same needs."""

    needs: Needs
    tests: dict[int, None] = msgspec.field(default_factory=dict)  # a set that keeps its order
    cpus: int = 0
    """What it counts for now."""
    before: _Holding | None = None
    """What the same strand held when it took this. Until that is over the two count as one, for as
    many as the larger of them."""
    heir: _Holding | None = None


class _Account(msgspec.Struct):
    """The holders of one named resource."""

    holds: dict[_Holding, Hold] = msgspec.field(default_factory=dict)

    def lack(self, wanted: Hold, limit: int, less: _Holding | None) -> list[_Holding]:
        """Who is in the way."""
        others = {holder: hold for holder, hold in self.holds.items() if holder is not less}
        if wanted.is_shared:
            return [holder for holder, hold in others.items() if not hold.is_shared]
        taken = sum(hold.slots for hold in others.values())
        if taken + wanted.slots <= limit and not any(hold.is_shared for hold in others.values()):
            return []
        return list(others)


class Ledger:
    """All that tests need is taken before they are dealt, at once, and given back when they are
    over: nobody waits while holding something.

    Two tests that write ``db`` (of which there is 1), one that reads it:

        take((0,), write)                 0 holds it
        lack(write)                       Lack("'db'", by 0)
        lack(write, less=0)               None: for who comes behind 0, in its place
        take((1,), write, behind=0)       0 and 1 hold it together, and it is one strand's
        give_back(0), give_back(1)        free

    It counts tests, not workers: a worker may run several at once. ``limits`` are of resources, 1
    where there is none; ``cpus`` is how many tests may run at once.
    """

    def __init__(self, limits: Mapping[str, int], cpus: int) -> None:
        self._limits = limits
        self._cpus = cpus
        self._holdings: dict[int, _Holding] = {}
        self._all: dict[_Holding, None] = {}
        self._accounts: dict[str, _Account] = {}
        self._circles: Counter[str | None] = Counter()
        self._taken_cpus = 0

    def grow(self, cpus: int) -> None:
        """So many tests may run at once, from now on."""
        self._cpus = cpus

    def __contains__(self, test: int) -> bool:
        return test in self._holdings

    def has_room(self, needs: Needs, less: int | None = None) -> bool:
        """Whether all of it could be taken now; by who comes behind test ``less``, in its place."""
        return self.lack(needs, less) is None

    def lack(self, needs: Needs, less: int | None = None) -> Lack | None:
        """What is not to be had now, the hardest to get first; ``less`` as in :meth:`has_room`."""
        gone = None if less is None else self._holdings.get(less)
        return (
            self._lack_of_solitude(needs, gone)
            or self._lack_of_holds(needs, gone)
            or self._lack_of_cpus(needs, gone)
        )

    def take(self, tests: Iterable[int], needs: Needs, behind: int | None = None) -> None:
        """Take what tests need that one strand runs one after the other: together, for they do not
        run at once. ``behind`` is the test that this strand runs before."""
        holding = None if behind is None else self._holdings.get(behind)
        if holding is None or holding.needs != needs:
            assert self.has_room(needs, behind), f"{needs} are not free"
            holding = self._open(needs, holding)
        for test in tests:
            assert test not in self._holdings, f"test {test} has what it needs"
            holding.tests[test] = None
            self._holdings[test] = holding

    def give_back(self, test: int) -> None:
        """The test is over, or not to be run now; nothing, if it has taken nothing."""
        holding = self._holdings.pop(test, None)
        if holding is None:
            return
        del holding.tests[test]
        if not holding.tests:
            self._close(holding)

    def _open(self, needs: Needs, before: _Holding | None) -> _Holding:
        holding = _Holding(needs)
        self._count(holding, needs.cpus)
        if before is not None:
            before.heir, holding.before = holding, before
            self._count(holding, max(needs.cpus, before.cpus))
            self._count(before, 0)
        self._all[holding] = None
        self._circles[needs.circle] += 1
        for hold in needs.holds:
            self._accounts.setdefault(hold.name, _Account()).holds[holding] = hold
        return holding

    def _close(self, holding: _Holding) -> None:
        needs = holding.needs
        self._count(holding, 0)
        del self._all[holding]
        for other in (holding.before, holding.heir):
            if other in self._all:
                self._count(other, other.needs.cpus)
        self._circles[needs.circle] -= 1
        if not self._circles[needs.circle]:
            del self._circles[needs.circle]
        for hold in needs.holds:
            del self._accounts[hold.name].holds[holding]

    def _count(self, holding: _Holding, cpus: int) -> None:
        self._taken_cpus += cpus - holding.cpus
        holding.cpus = cpus

    def _lack_of_solitude(self, needs: Needs, gone: _Holding | None) -> Lack | None:
        if self._circles.keys() <= {needs.circle}:
            return None
        strangers = [
            each for each in self._all if each is not gone and each.needs.circle != needs.circle
        ]
        return Lack(ALONE, _first_tests(strangers)) if strangers else None

    def _lack_of_holds(self, needs: Needs, gone: _Holding | None) -> Lack | None:
        for hold in needs.holds:
            account = self._accounts.get(hold.name)
            holders = account.lack(hold, self._limits.get(hold.name, 1), gone) if account else []
            if holders:
                return Lack(str(hold), _first_tests(holders))
        return None

    def _lack_of_cpus(self, needs: Needs, gone: _Holding | None) -> Lack | None:
        given = 0 if gone is None else gone.cpus
        if self._taken_cpus - given + needs.cpus <= self._cpus:
            return None
        return Lack(CPUS, _first_tests(each for each in self._all if each is not gone))


def _first_tests(holdings: Iterable[_Holding]) -> tuple[int, ...]:
    return tuple(next(iter(holding.tests)) for holding in holdings)
