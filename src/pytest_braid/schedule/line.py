"""The tests that wait for more than a worker, in the order in which they get it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from pytest_braid.model.needs import PLAIN, Lack, Needs
from pytest_braid.schedule.bar import Bar
from pytest_braid.schedule.held import Held
from pytest_braid.schedule.ledger import Ledger
from pytest_braid.schedule.worker import UNLIMITED

_NOBODY = Held(())


class Unit(msgspec.Struct, eq=False):
    """Tests that one worker runs in their order, each when it can have what it needs.

    ``all_needs`` is what any of them needs. ``own_process``: a fresh worker runs them, and nothing
    else. ``place`` is where it stands in line.
    """

    rest: list[int]
    """Its undealt tests, the next one last."""
    all_needs: Needs = PLAIN
    own_process: bool = False
    place: int = 0

    @property
    def head(self) -> int:
        """Its next test."""
        return self.rest[-1]


class Line:
    """Undealt units, in line for what their tests need and for processes of their own.

    Who comes first gets it first: a unit is passed only by those that take nothing it waits for.
    So a test waits for those before it, for those that run, and for the rest of the units that had
    begun before its turn came; for nobody else. Tests 0 and 1 write ``a``, 2 ``a`` and ``b``, 3
    writes ``b``:

        find()              0       gw0 is bound to it, and takes a
        find()              None    1 lacks a, 2 lacks a; 3 lacks b, for 2 comes first
        find(behind=0)      1       what gw0 is about to give back is there for its next test

    A unit is free, or bound to a worker until its last test is dealt. Those that are bound, and
    wait, come before all that are free: they have a worker, and these would wait for one.
    ``pinned`` units (``--dist each``) go to nobody else, but to the successor of a dead worker.
    """

    def __init__(
        self,
        units: Iterable[Unit],
        needs: Mapping[int, Needs],
        ledger: Ledger,
        limit: int = UNLIMITED,
        *,
        pinned: bool = False,
        held: Held = _NOBODY,
    ) -> None:
        """``limit`` is how many tests a worker may run that is shared. Units with tests that are
        ``held`` are passed over, and nothing is kept for them."""
        self._held = held
        self._needs = needs
        self._ledger = ledger
        self._limit = limit
        self._pinned = pinned
        self._free: dict[_Kind, deque[Unit]] = {}
        self._bound: dict[int, Unit] = {}
        self._waiting: dict[int, None] = {}  # workers; a set that keeps its order
        self._unit_of: dict[int, Unit] = {}
        self._closed = False
        self.fresh = self.common = 0
        """How many free units need a process of their own, and how many do not."""
        for place, unit in enumerate(units):
            unit.place = place
            self._unit_of.update(dict.fromkeys(unit.rest, unit))
            self._add(unit)
        shared = (self.needed(unit) for unit in self._all_free() if not unit.own_process)
        self.most_needed = max(shared, default=0)
        """How many more tests a worker must be allowed to begin any of those."""
        self.counts = any(each.circle is not None or each.cpus > 1 for each in needs.values())
        """Whether tests matter here that need nothing but a worker."""
        self.lacks: dict[int, Lack] = {}
        """Of tests that were found to wait: what they lacked when last looked at."""

    def __len__(self) -> int:
        """Count the free units."""
        return self.fresh + self.common

    def __contains__(self, test: int | None) -> bool:
        return test in self._unit_of

    def needed(self, unit: Unit) -> int:
        """How many more tests a worker must be allowed to begin it."""
        return 1 if unit.own_process else min(self._limit, len(unit.rest))

    def find(self, *, is_fresh: bool, left: int, behind: int | None = None) -> Unit | None:
        """The first free unit that can begin, in a worker that may be given ``left`` more tests.

        ``behind`` is the test that the worker is about to end.
        """
        bar = self._bar()
        for unit in self._in_order():
            if self._held.holds(unit.rest):
                continue
            needs = self._needs_of(unit)
            lack = bar.lack(unit.all_needs) or self._ledger.lack(needs, behind)
            if lack is None and unit.own_process <= is_fresh and left >= self.needed(unit):
                return unit
            self._pass_over(bar, unit, lack)
        return None

    def lets_pass(self, behind: int | None = None) -> bool:
        """Whether a test may run that is not in line, and needs nothing but a worker."""
        if not self.counts:
            return True
        bar = self._bar()
        for unit in self._in_order():
            if bar.circle is not None:
                break
            if self._held.holds(unit.rest):
                continue
            needs = self._needs_of(unit)
            bar.add(unit.head, needs, self._ledger.lack(needs, behind))
        return bar.lack(PLAIN) is None and self._ledger.has_room(PLAIN, behind)

    def add(self, test: int) -> None:
        """Put a test that had left, or was never here, at the end, for a process of its own."""
        unit = Unit([test], self._needs.get(test, PLAIN), own_process=True, place=1 << 60)
        self._unit_of[test] = unit
        self._add(unit)

    def bind(self, worker: int, unit: Unit) -> None:
        """The worker is to run it."""
        self._remove(unit)
        self._bound[worker] = unit

    def claim(self, worker: int) -> bool:
        """Bind the worker to the first free unit that shares its process, if there is one."""
        unit = next((unit for unit in self._in_order() if not unit.own_process), None)
        if unit is not None:
            self.bind(worker, unit)
        return unit is not None

    def bound(self, worker: int) -> Unit | None:
        """What the worker is bound to."""
        return self._bound.get(worker)

    @property
    def waits(self) -> bool:
        """Whether anything waits here, or for what is here."""
        return self.counts or bool(self._waiting) or len(self) > 0

    def take(self, worker: int, count: int, behind: int | None = None) -> tuple[int, ...]:
        """Deal up to ``count`` tests of the worker's unit, which all need the same, and take that.

        None if it is not to be had: then it waits.
        """
        unit = self._bound[worker]
        if unit.head in self._held:
            return ()
        needs = self._needs_of(unit)
        lack = self._ledger.lack(needs, behind) or self._bar(until=worker).lack(needs)
        if lack is not None:
            self._waiting.setdefault(worker)
            self.lacks[unit.head] = lack
            return ()
        self._waiting.pop(worker, None)
        tests: list[int] = []
        while (
            unit.rest
            and len(tests) < count
            and self._needs_of(unit) == needs
            and unit.head not in self._held
        ):
            tests.append(unit.rest.pop())
        self._ledger.take(tests, needs, behind)
        if not unit.rest:
            del self._bound[worker]
        return tuple(tests)

    def put_back(self, worker: int, tests: Sequence[int]) -> None:
        """Return tests that the worker had been dealt: it is bound to their unit again."""
        for test in reversed(tests):
            self._ledger.give_back(test)
            if not self._closed:
                unit = self._unit_of[test]
                if self._bound.get(worker, unit) is not unit:
                    self.release(worker)
                self._bound[worker] = unit
                unit.rest.append(test)

    def release(self, worker: int) -> None:
        """Free what a worker is bound to; a pinned unit stays, unless it has its own process."""
        self._waiting.pop(worker, None)
        unit = self._bound.get(worker)
        if unit is not None and (unit.own_process or not self._pinned):
            self._add(self._bound.pop(worker), first=True)

    def holds(self, worker: int) -> bool:
        """Whether there are tests that only this worker, or its successor, may run."""
        return worker in self._bound

    def bequeath(self, dead: int, heir: int) -> None:
        """Hand what a dead worker is bound to to its successor."""
        self._waiting.pop(dead, None)
        unit = self._bound.pop(dead, None)
        if unit is not None:
            self._bound[heir] = unit

    def close(self) -> None:
        """Deal nothing any more, whatever is put back."""
        self._closed = True
        self._free.clear()
        self._bound.clear()
        self._waiting.clear()
        self.fresh = self.common = 0

    def _needs_of(self, unit: Unit) -> Needs:
        return self._needs.get(unit.head, PLAIN)

    def _bar(self, until: int | None = None) -> Bar:
        """What is kept for bound units that wait, as far as they do so for longer than one."""
        bar = Bar()
        for worker in self._waiting:
            if worker == until:
                break
            unit = self._bound[worker]
            needs = self._needs_of(unit)
            bar.add(unit.head, needs, self._ledger.lack(needs))
        return bar

    def _pass_over(self, bar: Bar, unit: Unit, lack: Lack | None) -> None:
        bar.add(unit.head, self._needs_of(unit), lack)
        if lack is not None:
            self.lacks[unit.head] = lack

    def _in_order(self) -> list[Unit]:
        """The first free units of each kind: those behind them need the same."""
        return sorted((units[0] for units in self._free.values()), key=_place)

    def _all_free(self) -> Iterator[Unit]:
        for units in self._free.values():
            yield from units

    def _add(self, unit: Unit, *, first: bool = False) -> None:
        units = self._free.setdefault(self._kind(unit), deque())
        (units.appendleft if first else units.append)(unit)
        self._count(unit, 1)

    def _remove(self, unit: Unit) -> None:
        kind = next(kind for kind, units in self._free.items() if unit in units)
        self._free[kind].remove(unit)
        if not self._free[kind]:
            del self._free[kind]
        self._count(unit, -1)

    def _kind(self, unit: Unit) -> _Kind:
        return self._needs_of(unit), unit.own_process, self._held.shares(unit.rest)

    def _count(self, unit: Unit, change: int) -> None:
        if unit.own_process:
            self.fresh += change
        else:
            self.common += change


_Kind = tuple[Needs, bool, frozenset[int]]
"""What the units have in common of which only the first is looked at: what they need, and what they
wait for."""


def _place(unit: Unit) -> int:
    return unit.place
