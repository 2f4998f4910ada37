"""The tests that lie in no worker's queue, in units of which each stays in one worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping, Sequence
from typing import Final

import msgspec

from pytest_braid.schedule.worker import UNLIMITED, Worker


class _Unit(msgspec.Struct, eq=False):
    rest: list[int]
    """Its undealt tests, the next one last."""
    head: int
    """Its next test when it was bound: while that lies in a queue, the unit has not begun."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it is dealt, since it was bound or for the first time."""
        return self.rest[-1] == self.head


class UnitPool:
    """Undealt tests whose units are bound to a worker one by one, when it has need of the next.

    Does for units what :class:`~pytest_braid.schedule.pool.Pool` does for single tests. A unit is
    free, or held by a worker that has been dealt its front, or dealt to its end. A worker holds
    one, or more where several that it had begun at once were put back. With a unit of tests 0 to 3
    and one of test 4:

        take(gw0, 2)            (0, 1)    free [4]        gw0 holds [2 3]
        put_back(gw0, (0, 1))             free [0-3] [4]  gw0 had not begun: free again, in front
        take(gw1, 2)            (0, 1)    free [4]        gw1 holds [2 3]
        put_back(gw1, (1,))               free [4]        gw1 holds [1 2 3]: it has begun
        claim(gw0)                        free []         gw0 holds [4]
        release(gw1)                      free [1 2 3]    gw1 is dead: what is left begins anew

    ``pinned`` units (``--dist each``) go to nobody else, but to the successor of a dead worker.

    No worker runs more than ``limit`` tests. A unit goes to one that can run all of it, or as
    much as a fresh worker could; the successors of that worker run the rest.
    """

    has_first: Final = False
    """Units come in their order: what is first is in the first of them."""

    def __init__(
        self,
        units: Sequence[Sequence[int]],
        workers: int,
        limit: int = UNLIMITED,
        *,
        pinned: bool = False,
        later: Sequence[Sequence[int]] = (),
        held: Container[int] = (),
    ) -> None:
        """Lay out ``units`` for so many workers, to be bound in this order. ``later`` are those
        that are added when they need not wait any more; tests that are ``held`` are not dealt."""
        self._workers = workers
        self._limit = limit
        self.most_needed = min(limit, max(map(len, [*units, *later]), default=0))
        """How many more tests a worker must be allowed to be dealt whatever is revoked."""
        self._free = deque(_Unit([*reversed(unit)], unit[0]) for unit in units)
        self._held: dict[int, list[_Unit]] = {}
        self._unit_of = {test: unit for unit in self._free for test in unit.rest}
        self._pinned = pinned
        self._held_back = held
        self._closed = False

    def __len__(self) -> int:
        """Count the free units: what there is for workers that wait."""
        return len(self._free)

    def add(self, units: Sequence[Sequence[int]]) -> None:
        """Units that had to wait before they could be bound."""
        if not self._closed:
            for tests in units:
                unit = _Unit([*reversed(tests)], tests[0])
                self._free.append(unit)
                self._unit_of.update(dict.fromkeys(tests, unit))

    @property
    def needed(self) -> int:
        """How many more tests a worker must be allowed to be dealt the next unit."""
        return min(self._limit, len(self._free[0].rest)) if self._free else 0

    def take(
        self, worker: int, count: int, ahead: int = 0, left: int = UNLIMITED
    ) -> tuple[int, ...]:
        """Deal up to ``count`` tests: of the unit that the worker holds, then of free ones.

        The next unit is bound only while fewer than ``ahead`` tests are dealt, if the worker may
        be given enough of the ``left`` tests that it is allowed, and as long as it does not get
        more than its even share of what is free.
        """
        tests: list[int] = []
        share = self._share(worker)
        while len(tests) < count:
            is_due = share and len(tests) < ahead and left - len(tests) >= self.needed
            if worker not in self._held and is_due:
                self.claim(worker)
                share -= 1
            if worker not in self._held:
                break
            unit, dealt = self._held[worker][0], len(tests)
            while unit.rest and len(tests) < count and unit.rest[-1] not in self._held_back:
                tests.append(unit.rest.pop())
            if not unit.rest:
                self._drop(worker, unit)
            elif len(tests) == dealt:
                break
        return tuple(tests)

    def claim(self, worker: int, keeps: Mapping[int, int] | None = None) -> None:  # noqa: ARG002
        """See to it that the worker holds a unit, if there is a free one."""
        if worker not in self._held and self._free:
            unit = self._free.popleft()
            unit.head = unit.rest[-1]
            self._held[worker] = [unit]

    def put_back(self, worker: int, tests: Sequence[int]) -> None:
        """Return ``tests`` that the worker had been dealt; units that have not begun are free."""
        if self._closed:
            return
        for test in reversed(tests):
            unit, held = self._unit_of[test], self._held.setdefault(worker, [])
            if unit not in held:
                held.insert(0, unit)
            unit.rest.append(test)
            if unit.is_whole and not self._pinned:
                self._drop(worker, unit)
                self._free.appendleft(unit)

    def _drop(self, worker: int, unit: _Unit) -> None:
        self._held[worker].remove(unit)
        if not self._held[worker]:
            del self._held[worker]

    def release(self, worker: int) -> None:
        """Free what a worker holds, to be the next to be bound; a pinned unit stays."""
        if not self._pinned:
            self._free.extendleft(reversed(self._held.pop(worker, [])))

    def unclaim(self, worker: int) -> None:
        """Free what a worker holds if it has not begun it."""
        if not self.has_begun(worker):
            self.release(worker)

    def has_begun(self, worker: int) -> bool:
        """Whether the worker holds a unit of which it has been dealt tests."""
        return any(not unit.is_whole for unit in self._held.get(worker, ()))

    def holds(self, worker: int) -> bool:
        """Whether there are tests that only this worker, or its successor, may run."""
        return worker in self._held

    def bequeath(self, dead: int, heir: int) -> None:
        """Hand what a dead worker holds to its successor."""
        held = self._held.pop(dead, None)
        if held is not None:
            self._held[heir] = held

    def loose(self, worker: Worker, spare: Sequence[int]) -> int:  # noqa: ARG002
        """Count the units that another could run if it had these tests of the worker's queue."""
        if self._pinned:
            return 0
        return sum(self._unit_of[test].head == test for test in spare)

    def _share(self, worker: int) -> int:
        """How many units the worker may bind now: one more than none, and fewer and fewer."""
        claimed = any(unit.is_whole for unit in self._held.get(worker, ()))
        return -(-(len(self._free) + claimed) // self._workers) - claimed

    def grow(self, workers: int) -> None:
        """There are so many workers, from now on."""
        self._workers = workers

    def close(self) -> None:
        """Deal nothing any more, whatever is put back."""
        self._closed = True
        self._free.clear()
        self._held.clear()
