"""The tests that lie in no worker's queue, in slices that are worth to be run by one worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice, pairwise
from typing import Final

from pytest_braid.model.tests import Mode
from pytest_braid.schedule.outlook import CHEAP, Outlook
from pytest_braid.schedule.runs import Run, arrange, cuts_of
from pytest_braid.schedule.worker import UNLIMITED, Worker

_CHOICE = 32
"""Runs that are looked at for one that suits a worker."""


class Pool:
    """Undealt tests: one slice for each worker, and common runs that workers take chunks of.

    The two modes differ in where the tests lie at first. With six tests and two workers:

        worksteal   common []                  gw0 [0 1 2]   gw1 [3 4 5]
        load        common [0 1 2 3 4 5]       gw0 []        gw1 []

    A worker is dealt from the front of its own slice only. A worker without one gets a chunk of
    the common runs; once those are gone too, :meth:`claim` cuts the back half off the largest
    slice of another worker. So each worker walks through the collection in runs of neighbours,
    which keeps module fixtures together, and nothing is out of an idle worker's reach.

    But a dear fixture with its users is a chain: it goes to a worker as a whole, and is cut only if
    setting the fixture up once more takes less time than is won. Chains are not bound where
    workers have their share (``binds``), for these could not end what they have begun.
    """

    def __init__(
        self,
        tests: Sequence[int],
        workers: int,
        mode: Mode,
        max_chunk: int | None = None,
        outlook: Outlook | None = None,
        *,
        strands: int = 1,
        keeps_order: bool = False,
        first: int = 0,
        binds: bool = True,
    ) -> None:
        """Lay out ``tests`` for workers ``0`` to ``workers - 1``.

        ``max_chunk`` is the largest number of tests dealt at once in mode ``load``. Where the order
        is kept, those of a number below ``first`` are in no slice: they are dealt one by one.
        """
        self._workers = max(1, workers)
        self._strands = strands
        self._keeps_order = keeps_order
        self._first = first if keeps_order else 0
        self._binds = binds
        self._outlook = outlook or Outlook()
        self._max_chunk = max_chunk if mode is Mode.LOAD else None
        self._chain_of: dict[int, int] = {}
        """Of tests that are bound: the instance for which they are."""
        self._left = 0.0
        """Seconds of what is common."""
        self._all = self._amount(tests)
        self._common: deque[Run] = deque()
        self._slices: dict[int, deque[int]] = {}
        self._dealt: dict[int, list[int]] = {}
        """All tests that a worker was dealt, in order, without those that were put back."""
        self._orphans: set[int] = set()
        """Workers that will run no more of their slices."""
        self._live: dict[int, set[int]] = {}
        """The instances that each worker has set up."""
        self._closed = False
        runs = self._arranged(tests)
        if mode is Mode.LOAD:
            self._common.extend(runs)
        else:
            tests = [test for run in runs for test in run.tests]
            begin = [test for test in tests if test < self._first]
            self._common.extend([Run(deque(begin))] if begin else [])
            self._slices = self._even_slices([test for test in tests if test >= self._first])

    def __len__(self) -> int:
        """Count the undealt tests."""
        return sum(len(run.tests) for run in self._common) + sum(map(len, self._slices.values()))

    def add(self, units: Sequence[Sequence[int]]) -> None:
        """Tests that had to wait before they could lie here."""
        if self._closed:
            return
        new = [test for unit in units for test in unit]
        self._all += self._amount(new)
        old = [test for run in self._common for test in run.tests]
        self._common = deque(self._arranged(sorted([*old, *new])))

    needed: Final = 1
    """How many more tests a worker must be allowed to be dealt anything."""

    most_needed: Final = 1
    """How many more tests a worker must be allowed to be dealt whatever is revoked elsewhere."""

    def take(
        self,
        worker: int,
        count: int,
        ahead: int = 0,  # noqa: ARG002
        left: int = UNLIMITED,  # noqa: ARG002
    ) -> tuple[int, ...]:
        """Deal up to ``count`` tests out of one slice; fewer if the worker's slice ends before.

        Slices are a preference: unlike units, they are not held back until the worker needs
        the next (``ahead``) and can run all of it (``left``).
        """
        if count <= 0:
            return ()
        if self.has_first:
            return self._take_first(worker)
        if self._max_chunk is not None:
            count = min(count, self._max_chunk)
        own = self._slices.get(worker) or self._chunk(worker)
        tests = tuple(own.popleft() for _ in range(min(count, len(own))))
        self._dealt.setdefault(worker, []).extend(tests)
        return tests

    @property
    def has_first(self) -> bool:
        """Whether there are tests that come before all others: a worker is to be dealt the next of
        them when it can begin it, and not before."""
        return bool(self._common) and self._common[0].tests[0] < self._first

    def _take_first(self, worker: int) -> tuple[int, ...]:
        run = self._common[0]
        test = run.tests.popleft()
        if not run.tests:
            self._common.popleft()
        self._left = max(0.0, self._left - self._weight(test))
        self._dealt.setdefault(worker, []).append(test)
        return (test,)

    def upcoming(self, worker: int) -> Iterable[int]:
        """What the worker would be dealt next, as far as that is known."""
        own = self._slices.get(worker)
        return own or (self._common[0].tests if self._common else ())

    def claim(self, worker: int, keeps: Mapping[int, int] | None = None) -> None:
        """See to it that the worker has a slice, if there is an undealt test anywhere that it is
        worth to run there. ``keeps`` says of other workers how many tests they take at once."""
        if self.has_first or self._slices.get(worker) or self._chunk(worker):
            return
        self._slices.pop(worker, None)
        largest = sorted(self._slices, key=lambda other: -len(self._slices[other]))
        for other in largest if self._chain_of else largest[:1]:
            cut = self._cut(other, (keeps or {}).get(other, 0))
            if cut is not None:
                # The latest slice goes last: of equally large ones, the next takes another.
                self._slices[worker] = _cut_back(self._slices[other], cut)
                return

    def put_back(self, worker: int, tests: Sequence[int]) -> None:
        """Return ``tests`` to the front of the worker's slice, from where they had been dealt."""
        if tests and not self._closed:
            self._slices.setdefault(worker, deque()).extendleft(reversed(tests))
            back, dealt = {*tests}, self._dealt.get(worker, ())
            self._dealt[worker] = [test for test in dealt if test not in back]

    def bequeath(self, dead: int, heir: int) -> None:
        """Hand the slice of a dead worker to its successor."""
        self._orphans.discard(dead)
        slice_ = self._slices.pop(dead, None)
        if slice_ and not self._closed:
            self._slices.setdefault(heir, deque()).extendleft(reversed(slice_))

    def unclaim(self, worker: int) -> None:
        """Nothing to do: what a worker has claimed others may claim, too."""

    def has_begun(self, worker: int) -> bool:  # noqa: ARG002
        """Whether it holds a part of a unit: never."""
        return False

    def release(self, worker: int) -> None:
        """The worker runs no more of its slice: others may claim that, at no cost."""
        self._orphans.add(worker)
        self._live.pop(worker, None)

    def holds(self, worker: int) -> bool:  # noqa: ARG002
        """Whether there are tests that only this worker, or its successor, may run: never."""
        return False

    def loose(self, worker: Worker, spare: Sequence[int]) -> int:
        """Count the tests that another could run if it had these of the worker's queue."""
        if not spare or not self._chain_of:
            return len(spare)
        place = worker.queue.index(spare[0])
        before = worker.queue[place - 1] if place else next(iter(worker.running), None)
        tests = [*spare, *self._slices.get(worker.number, ())]
        return 0 if self._best_cut(tests, before, 0) is None else len(spare)

    def learn(self, worker: int, test: int, fixture: str, seconds: float) -> None:
        """The worker has set up a fixture. If that was dearer than anybody expected, what is left
        is laid out anew."""
        is_dear = self._outlook.learn(fixture, seconds)
        instance = self._outlook.named(test, fixture)
        if instance is not None and seconds > CHEAP:
            self._live.setdefault(worker, set()).add(instance)
        if is_dear and instance is not None and self._common:
            tests = sorted(test for run in self._common for test in run.tests)
            self._common = deque(self._arranged(tests))

    def grow(self, workers: int) -> None:
        """There are so many workers, from now on."""
        self._workers = workers

    def close(self) -> None:
        """Deal nothing any more, whatever is put back."""
        self._closed = True
        self._common.clear()
        self._slices.clear()

    def _arranged(self, tests: Sequence[int]) -> list[Run]:
        runs = arrange(
            tests, self._outlook, self._workers, self._strands, keeps_order=self._keeps_order
        )
        for run in runs:
            if not self._binds:
                run.instance = None
            elif run.instance is not None:
                self._chain_of |= dict.fromkeys(run.tests, run.instance)
        self._left = self._amount(tests)
        return runs

    def _amount(self, tests: Collection[int]) -> float:
        """Seconds; or how many there are, if nobody knows better."""
        return self._outlook.all_seconds(tests) if self._outlook.is_known else float(len(tests))

    def _weight(self, test: int) -> float:
        """The amount of one."""
        return self._outlook.seconds(test) if self._outlook.is_known else 1.0

    def _chunk(self, worker: int) -> deque[int]:
        # A quarter of the worker's even share of what is left: large at first, so that modules
        # stay whole, and single tests at the end, so that all workers arrive there together.
        chunk: deque[int] = deque()
        if not self._common:
            return chunk
        self._bring_forward(worker)
        size, taken = self._left / (4 * self._workers), 0.0
        while self._common:
            before = len(chunk)
            taken += self._take_front(chunk, size - taken)
            if len(chunk) == before or taken >= size:
                break
        self._left = max(0.0, self._left - taken) if self._common else 0.0
        self._slices[worker] = chunk
        return chunk

    def _take_front(self, chunk: deque[int], size: float) -> float:
        """Move as much of the first run to the chunk as fits, and something to an empty one."""
        run = self._common[0]
        if run.instance is not None:
            amount = self._amount(run.tests)
            if chunk and amount / 2 > size:
                return 0.0
            chunk.extend(run.tests)
            self._common.popleft()
            return amount
        taken = 0.0
        while run.tests and not self._is_full(chunk):
            amount = self._weight(run.tests[0])
            if chunk and taken + amount > size * (1 + 1e-9):
                break
            chunk.append(run.tests.popleft())
            taken += amount
        taken += self._take_close(chunk, run)
        if not run.tests:
            self._common.popleft()
        return taken

    def _take_close(self, chunk: deque[int], run: Run) -> float:
        """Move what shares fixtures with the last test, if that is no more than a worker's share:
        the module ends here, whatever its fixtures will turn out to cost. If it is more, it may
        begin with the next chunk."""
        share = self._all / self._workers
        most = len(run.tests) + len(chunk) if self._outlook.is_known else share
        count, amount, last = 0, self._amount(chunk), chunk[-1]
        for test in run.tests:
            if not self._outlook.are_close(last, test, most):
                break
            count, amount, last = count + 1, amount + self._weight(test), test
            if amount > share or (self._max_chunk and len(chunk) + count > self._max_chunk):
                return self._give_close(chunk, run, most)
        more = [run.tests.popleft() for _ in range(count)]
        chunk.extend(more)
        return self._amount(more)

    def _give_close(self, chunk: deque[int], run: Run, most: float) -> float:
        """Move back what shares fixtures with the next one, unless that is all."""
        tests = [*chunk]
        place = len(tests) - 1
        while place and self._outlook.are_close(tests[place - 1], tests[place], most):
            place -= 1
        if not place:
            return 0.0
        back = [chunk.pop() for _ in range(len(tests) - place)]
        run.tests.extendleft(back)
        return -self._amount(back)

    def _is_full(self, chunk: deque[int]) -> bool:
        return self._max_chunk is not None and len(chunk) >= self._max_chunk

    def _bring_forward(self, worker: int) -> None:
        """To the front: what suits the worker best, for what it, and others, have set up; unless
        the first run is so long that somebody must begin it."""
        if not self._live or self._amount(self._common[0].tests) * self._workers > self._left:
            return
        choice = islice(self._common, _CHOICE)
        regrets = [self._regret(worker, run.tests[0]) for run in choice]
        best = regrets.index(min(regrets))
        if best:
            run = self._common[best]
            del self._common[best]
            self._common.appendleft(run)

    def _regret(self, worker: int, test: int) -> float:
        """Seconds of setups that another worker could spare itself, less those that this can."""
        regret, own = 0.0, self._live.get(worker, set())
        for instance in self._outlook.instances(test):
            cost = self._outlook.cost(instance)
            if cost <= CHEAP:
                continue
            if instance in own:
                regret -= cost
            elif any(instance in live for live in self._live.values()):
                regret += cost
        return regret

    def _cut(self, owner: int, keep: int) -> int | None:
        """Where another worker may begin with the owner's slice, if it is worth while."""
        tests = self._slices[owner]
        if not tests:
            return None
        if owner in self._orphans or not (self._chain_of or self._outlook.is_known):
            return len(tests) // 2
        dealt = self._dealt.get(owner)
        return self._best_cut([*tests], dealt[-1] if dealt else None, keep)

    def _best_cut(self, tests: Sequence[int], before: int | None, keep: int) -> int | None:
        """The place with which all is done soonest, if the owner keeps so many; ``before`` is the
        test that it has been dealt last. To cut a chain costs a setup."""
        seconds = [self._outlook.seconds(test) for test in tests]
        total = sum(seconds)
        kept, best, soonest = 0.0, None, total + 1.0
        for place, test in enumerate(tests):
            cost = self._cost_between(before if place == 0 else tests[place - 1], test)
            end = max(kept, total - kept + cost)
            is_due = place >= min(keep, len(tests) // 2) and (not cost or end + CHEAP < total)
            if is_due and end < soonest - 1e-9:
                best, soonest = place, end
            kept += seconds[place]
        return best

    def _cost_between(self, one: int | None, other: int) -> float:
        instance = self._chain_of.get(other)
        if instance is None or one is None or self._chain_of.get(one) != instance:
            return 0.0
        return self._outlook.cost(instance)

    def _even_slices(self, tests: Sequence[int]) -> dict[int, deque[int]]:
        cuts = cuts_of(tests, self._workers, self._outlook)
        places = [0, *(self._at_edge(tests, cut) for cut in cuts), len(tests)]
        return {
            worker: deque(tests[start:end]) for worker, (start, end) in enumerate(pairwise(places))
        }

    def _at_edge(self, tests: Sequence[int], place: int) -> int:
        """The nearest place that cuts no chain, if that is near enough."""
        reach = len(tests) // (2 * self._workers)
        for distance in range(reach):
            for edge in (place - distance, place + distance):
                if not 0 < edge < len(tests):
                    continue
                if not self._cost_between(tests[edge - 1], tests[edge]):
                    return edge
        return place


def _cut_back(tests: deque[int], place: int) -> deque[int]:
    back: deque[int] = deque()
    while len(tests) > place:
        back.appendleft(tests.pop())
    return back
