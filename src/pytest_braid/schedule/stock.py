"""All tests that lie in no worker's queue, and which of them a worker may be dealt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pytest_braid.model.commands import Wait
from pytest_braid.model.needs import PLAIN, Lack
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.held import Held
from pytest_braid.schedule.layout import lay_out, slots_for
from pytest_braid.schedule.ledger import Ledger
from pytest_braid.schedule.line import Unit
from pytest_braid.schedule.outlook import Outlook
from pytest_braid.schedule.pool import Pool
from pytest_braid.schedule.worker import Worker


class Stock:
    """The line of those that wait for something, the pool of all others, and the ledger.

    A worker that waits is dealt from the line first: what stands there can be the longest chain of
    the run. A worker that has tests of the pool gets no more of them while the line has one for it.
    """

    def __init__(
        self, specs: Sequence[TestSpec], settings: SchedulerSettings, outlook: Outlook
    ) -> None:
        self.slots = slots_for(specs, settings)
        at_once = max(self.slots, settings.workers) * settings.strands
        self._ledger = Ledger(dict(settings.resources), at_once)
        self._held = Held(specs)
        laid_out = lay_out(specs, settings, self._ledger, outlook, self._held)
        self._line, self._pool, self._waiting = laid_out
        self._is_each = settings.mode is Mode.EACH
        self._strands = settings.strands
        self._tells = settings.tells_waits
        self._told: dict[int, Lack] = {}

    def __len__(self) -> int:
        """Count what workers that are not fresh could begin: tests, or units."""
        return len(self._pool) + len(self._waiting) + self._line.common

    @property
    def has_first(self) -> bool:
        """Whether a worker is to be dealt no more than it can begin now."""
        return self._pool.has_first

    @property
    def fresh(self) -> int:
        """How many fresh workers are needed."""
        return self._line.fresh

    @property
    def most_needed(self) -> int:
        """How many more tests a worker must be allowed to be dealt anything but what is fresh."""
        return max(self._pool.most_needed, self._line.most_needed)

    def settle(self, share: int) -> None:
        """Nobody has to wait for this shared fixture any more."""
        self._held.settle(share)
        units = self._waiting.take()
        if units:
            self._pool.add(units)

    def spread(self, workers: Sequence[Worker]) -> None:
        """In mode ``each``, give each of the first workers its copy of the collection."""
        if self._is_each:
            for worker in workers:
                if not self._line.claim(worker.number):
                    self._pool.claim(worker.number)

    def claim(self, idle: Sequence[Worker], keeps: Mapping[int, int]) -> list[Worker]:
        """Those of the idle workers for whom the pool has something; it is theirs then.

        Before any of them is dealt it, so that what there is spreads over all of them. ``keeps``
        says how many tests each worker takes at once, whatever others claim.
        """
        rest = len(self._pool)
        takers: list[Worker] = []
        for worker in idle:
            holds = self._pool.holds(worker.number)
            suits = worker.left >= self._pool.needed and not self._line.holds(worker.number)
            if (holds or (rest and suits)) and self._lets_pass(worker):
                rest -= not holds  # more would only take from each other what they have claimed
                self._pool.claim(worker.number, keeps)
                takers.append(worker)
        return takers

    def take(self, worker: Worker, count: int, ahead: int) -> tuple[int, ...]:
        """Deal the worker up to ``count`` tests, and what they need; the next unit of the pool only
        while fewer than ``ahead`` are dealt."""
        if worker.waits:
            tests = self.take_in_line(worker, count)
            if tests or self._line.holds(worker.number):
                return tests
        elif worker.serves_line or self._finds_in_line(worker):
            return ()
        return self._take_from_pool(worker, count, ahead)

    def take_in_line(self, worker: Worker, count: int) -> tuple[int, ...]:
        """Deal the worker, which waits, tests of the unit in line that it has, or of the first that
        it can begin if it is not in the middle of one of the pool."""
        unit = self._line.bound(worker.number)
        if unit is None:
            if self._pool.has_begun(worker.number) and self._lets_pass(worker):
                return ()
            unit = self._find_in_line(worker)
            if unit is None:
                return ()
            self._line.bind(worker.number, unit)
            self._pool.unclaim(worker.number)
        if unit.own_process and worker.is_fresh:
            worker.limit = len(unit.rest)
            self._pool.release(worker.number)
        count = min(count, worker.left, 1 if worker.strands > 1 else count)
        tests = self._line.take(worker.number, count, worker.last) if count > 0 else ()
        worker.serves_line = bool(tests)
        return tests

    def _take_from_pool(self, worker: Worker, count: int, ahead: int) -> tuple[int, ...]:
        if not self._lets_pass(worker):
            self._pool.unclaim(worker.number)
            return ()
        if self._line.counts and worker.strands > 1:  # each takes its place: none is to lie in wait
            count = min(count, 1, worker.strands - len(worker.running) - len(worker.queue))
        tests = self._pool.take(worker.number, count, ahead, worker.left)
        if tests:
            if self._line.counts:
                self._ledger.take(tests, PLAIN, worker.last)
            worker.serves_line = False
        return tests

    def upcoming(self, worker: int) -> Iterable[int] | None:
        """The tests of the pool that the worker would be dealt next, if they are single ones."""
        return self._pool.upcoming(worker) if isinstance(self._pool, Pool) else None

    def learn(self, worker: int, test: int, fixture: str, seconds: float) -> None:
        """The worker has set up a fixture for this test, and those that come."""
        if isinstance(self._pool, Pool):
            self._pool.learn(worker, test, fixture, seconds)

    def suspect(self, tests: Sequence[int]) -> None:
        """One of these has ended the process that they ran in: each gets one of its own."""
        for test in tests:
            self._ledger.give_back(test)
            self._line.add(test)

    def put_back(self, worker: int, tests: Sequence[int]) -> None:
        """Tests that the worker had been dealt are undealt again."""
        for test in tests:
            self._ledger.give_back(test)
        self._line.put_back(worker, [test for test in tests if test in self._line])
        self._pool.put_back(worker, [test for test in tests if test not in self._line])

    def give_back(self, test: int) -> bool:
        """The test is over. Returns whether that may let others begin."""
        had = test in self._ledger
        self._ledger.give_back(test)
        return had and self._line.waits

    def release(self, worker: int) -> None:
        """What a dead worker had begun goes to others, unless it is its successor's."""
        self._line.release(worker)
        self._pool.release(worker)

    def holds(self, worker: int) -> bool:
        """Whether there are tests that only this worker, or its successor, may run."""
        return self._line.holds(worker) or self._pool.holds(worker)

    def bequeath(self, dead: int, heir: int) -> None:
        """Hand what only a dead worker might run to its successor."""
        self._line.bequeath(dead, heir)
        self._pool.bequeath(dead, heir)

    def claim_for(self, gone: int) -> None:
        """See to it that the successor of a retired worker will have something of the pool."""
        if not self.fresh and not self.holds(gone) and self._line.lets_pass():
            self._pool.claim(gone)

    def grow(self, workers: int) -> None:
        """There are so many workers, from now on."""
        self._ledger.grow(workers * self._strands)
        self._pool.grow(workers)

    def close(self) -> None:
        """Deal nothing any more, whatever is put back."""
        self._line.close()
        self._pool.close()
        self._waiting.close()

    def loose(self, worker: Worker, *, asides: bool) -> int:
        """Count what others could run of the worker's queue: tests, or units. Those that step aside
        count only for workers that run nothing."""
        return self._pool.loose(worker, worker.spare(asides=asides))

    def may_steal(self, worker: Worker) -> bool:
        """Whether the worker could be dealt what is revoked elsewhere."""
        able = worker.left >= self._pool.most_needed and not self._line.holds(worker.number)
        return able and self._lets_pass(worker)

    def may_come(self, worker: Worker, elsewhere: int) -> bool:
        """Whether there may be something for the worker later, of what lies here, or in queues
        (``elsewhere``)."""
        if not worker.left:
            return False
        in_line = len(self._line) if worker.is_fresh else self._line.common
        is_able = worker.left >= self._pool.most_needed
        plain = len(self._pool) + elsewhere if self._line.counts and is_able else 0
        later = len(self._waiting) if is_able else 0
        return in_line + plain + later > 0 or self.holds(worker.number)

    def next_of(self, worker: Worker) -> int | None:
        """The test that the worker waits for, if that is certain."""
        unit = self._line.bound(worker.number)
        return None if unit is None else unit.head

    def news(self) -> list[Wait]:
        """What tests were found to lack since this was asked last."""
        found, self._line.lacks = self._line.lacks, {}
        if not self._tells:
            return []
        new = {test: lack for test, lack in found.items() if self._told.get(test) != lack}
        self._told |= new
        return [Wait(test, lack.what, lack.by) for test, lack in new.items()]

    def _lets_pass(self, worker: Worker) -> bool:
        return self._line.lets_pass(worker.last)

    def _finds_in_line(self, worker: Worker) -> bool:
        return bool(self._line) and self._find_in_line(worker) is not None

    def _find_in_line(self, worker: Worker) -> Unit | None:
        if not self._line:
            return None
        return self._line.find(is_fresh=worker.is_fresh, left=worker.left, behind=worker.last)
