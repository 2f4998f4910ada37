"""The scheduler: every event of a run in, what to do about it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pytest_braid.model.commands import (
    Assign,
    End,
    Finish,
    GiveUp,
    Keep,
    Retire,
    Revoke,
    SchedulerCommand,
    StartWorker,
)
from pytest_braid.model.estimates import NOTHING_KNOWN, Estimates
from pytest_braid.model.events import (
    Asked,
    Finished,
    FixtureSetUp,
    Measured,
    Revoked,
    SchedulerEvent,
    ShareSettled,
    Started,
    StopRequested,
    WorkerDied,
    WorkerGone,
    WorkerReady,
    WorkerStopped,
)
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.growth import Growth
from pytest_braid.schedule.outlook import Outlook
from pytest_braid.schedule.stock import Stock
from pytest_braid.schedule.worker import (
    BUFFER,
    CAUTIOUS_BUFFER,
    DEEPEST,
    UNLIMITED,
    Pace,
    Question,
    Worker,
    ahead_for,
    depth_for,
    least_depth,
)

_OF_NO_WORKER = (StopRequested, Measured, ShareSettled)

BARREN_DEATHS = 3
"""Without a limit of restarts: workers that may die one after the other without any outcome."""


class Scheduler:
    """Decides what runs where. Carry out its commands in order, tell it all that happens.

    A test is in one of five places: in the pool, in a worker's queue, running, over, or (after a
    stop) dropped. Three tests and two workers, of which the second is slow to come up:

        start()           StartWorker(0) StartWorker(1)
                          Assign(0, [0]) Assign(1, [1, 2]) before they are up: no time is lost
        WorkerReady(0)    -
        Started(0, 0)     -                                its slice of the pool is empty
        Asked(0)          Revoke(1)                        gw1 is not up yet: take what it has
        Revoked(1, [1, 2])
                          Assign(0, [2]) Assign(1, [1])    but the first, which it will begin with
        WorkerReady(1)    -
        Finished(0, 0)    -
        Started(0, 2)     -
        Started(1, 1)     -
        Asked(0)          End(0)                           test 2 may tear everything down
        Asked(1)          End(1)                           nothing in the pool or in a queue
        Finished(0, 2)    -
        Finished(1, 1)    Finish(0) Finish(1)              done

    Two tests, one slot, and workers that run one test each:

        start()           StartWorker(0, slot 0) Assign(0, [0])
        Asked(0)          End(0)                           it has had its share
        Finished(0, 0)    Retire(0)                        a fresh worker would have test 1 to run
        WorkerGone(0)     StartWorker(1, slot 0) Assign(1, [1])
        Asked(1)          End(1)
        Finished(1, 1)    Finish(1)                        the last of a slot stays for this

    Guarantees:

    - a test is in one queue at most, and goes to another only if it was revoked or its worker died;
    - a unit is in one live worker at most, and in its order; it goes to another only if it has not
      begun, if its worker died, or with its slot, if it has more tests than one worker may run;
    - a worker is given its share at most, and one that is given a test with a process of its own
      is given nothing else;
    - ``End`` goes only to a worker that waits for an answer, and only when no pool and no queue
      has a test to spare that it may be given (or after a stop); a chain of which others have set
      up the fixture has one only if setting it up again takes less time than is won;
    - ``Retire`` goes only to a worker without a test that is torn down or asks between tests, if
      it can be given nothing of what is open and its successor can; the successor is started when
      it is gone, so that no two live workers have one name;
    - ``Finish`` is sent once to each worker that does not retire, when no test runs or will start:
      ``done`` is true. A slot is without only if its worker crashed, or if the run is over or
      stopped between ``Retire`` and ``WorkerGone``;
    - however workers ask, what is revoked goes round only once before something happens;
    - after a stop nothing is assigned, no worker started and none retired; what was revoked stays
      undone (:attr:`unfinished`).

    Assumptions: events of one worker arrive in the order in which they happened, those of
    different workers in any order; each ``Revoke`` is answered before another event of a worker
    is told; a worker starts what it has taken from its queue, even after a stop, unless it dies
    or says :class:`~pytest_braid.model.events.WorkerStopped`; while it waits after an ``End`` it
    skips another one (the first may have been revoked, unread, along with tests).
    """

    def __init__(
        self,
        specs: Sequence[TestSpec],
        settings: SchedulerSettings,
        estimates: Estimates = NOTHING_KNOWN,
    ) -> None:
        """Plan to run ``specs``, given in the order of the collection."""
        self._max_restarts = settings.max_restarts
        self._unfinished = {spec.index: None for spec in specs}  # a set that keeps its order
        is_each = settings.mode is Mode.EACH  # then nobody could run what another has
        self._outlook = Outlook() if is_each else Outlook(specs, estimates)
        self._stock = Stock(specs, settings, self._outlook)
        self._limit = settings.max_tests_per_worker or UNLIMITED
        self._recycles = bool(self._stock.fresh) or settings.max_tests_per_worker is not None
        self._is_cautious = settings.is_cautious and settings.mode is Mode.LOAD
        self._strands = settings.strands
        self._asides = _asides(specs, settings)
        self._growth = _growth(settings)
        self._workers: dict[int, Worker] = {}
        self._retiring: dict[int, Worker] = {}
        self._next_number = 0
        self._next_slot = 0
        self._restarts = 0
        self._crashes = 0
        self._pace = Pace()
        self._revoking: set[int] = set()
        self._taken_back: set[int] = set()
        """Tests that were revoked since anything else has happened."""
        self._stopping = False
        self._done = not specs

    @property
    def done(self) -> bool:
        """Whether the run is over: no test runs, none will start, and all workers were told so.

        That is: every test has finished or crashed; or the run was stopped or given up, and no
        worker runs a test or has taken one that it will start. Without tests it is done at once.
        Events that still arrive (a question that crossed the ``Finish``) change nothing.
        """
        return self._done

    @property
    def slots(self) -> int:
        """How many workers it starts with, and how many there are at a time at most."""
        return self._stock.slots

    @property
    def crashes(self) -> int:
        """How many workers have crashed that could have run more tests."""
        return self._crashes

    @property
    def exceeded(self) -> int | None:
        """How many crashed workers may be replaced at most, if more have crashed."""
        most = self._max_restarts
        return most if most is not None and self._crashes > most else None

    @property
    def unfinished(self) -> list[int]:
        """Tests that have neither finished nor ended their worker, in collection order."""
        return list(self._unfinished)

    def start(self, at: float) -> list[SchedulerCommand]:  # noqa: ARG002  # no decision needs it yet
        """Start the workers, numbered from 0, and deal to each before it is up."""
        if self._stopping:
            return []
        workers = [self._new_worker() for _ in range(self.slots)]
        commands: list[SchedulerCommand] = [StartWorker(w.number, w.slot) for w in workers]
        self._stock.spread(workers)
        for worker in workers:
            commands += self._deal(worker)
        return [*commands, *self._stock.news()]

    def handle(self, event: SchedulerEvent) -> list[SchedulerCommand]:
        """Take in one event and decide. Events of a worker that died or finishes are ignored.

        Raises :class:`~pytest_braid.schedule.worker.UnexpectedEventError` for what cannot happen.
        """
        if self._taken_back and not isinstance(event, Revoked):
            self._taken_back.clear()
        if isinstance(event, _OF_NO_WORKER):
            return self._of_no_worker(event)
        worker = self._workers.get(event.worker)
        if worker is None:
            retiring = self._retiring.get(event.worker)
            return [] if retiring is None else self._on_retiring(retiring, event)
        match event:  # the two of every test first
            case Started():
                return self._started(worker, event)
            case Finished():
                return self._finished(worker, event)
            case Asked():
                worker.question = Question.OPEN
                return self._feed() if worker.idle else []
            case Revoked():
                return self._revoked(worker, event)
            case _:
                return self._on_rare(worker, event)

    def _of_no_worker(
        self, event: StopRequested | Measured | ShareSettled
    ) -> list[SchedulerCommand]:
        match event:
            case StopRequested():
                return self._stop()
            case Measured():
                return self._measured(event)
            case ShareSettled():
                self._stock.settle(event.share)
                return [] if self._stopping or self._done else self._feed()

    def _on_rare(
        self,
        worker: Worker,
        event: FixtureSetUp | WorkerReady | WorkerDied | WorkerStopped | WorkerGone,
    ) -> list[SchedulerCommand]:
        match event:
            case FixtureSetUp():
                self._stock.learn(event.worker, event.test, event.fixture, event.seconds)
                return []
            case WorkerReady():
                return []
            case WorkerDied():
                return self._died(worker, event)
            case WorkerStopped():
                worker.stop(event.running)
                return self._stop()
            case WorkerGone():
                raise worker.unexpected("went without having been told to")
            case _:
                assert_never(event)

    def _started(self, worker: Worker, event: Started) -> list[SchedulerCommand]:
        worker.start(event.test, event.at)
        commands = self._deal(worker) if len(worker.queue) <= worker.low else []
        return [*commands, *self._feed()] if self._asides_are_awaited() else commands

    def _finished(self, worker: Worker, event: Finished) -> list[SchedulerCommand]:
        self._pace.add(worker.finish(event.test, event.at))
        self._outlook.note_pace(self._pace.mean or 0.0)
        del self._unfinished[event.test]
        if self._is_over():
            return self._finish_all()
        if self._stock.give_back(event.test) or self._asides_are_awaited():
            return self._feed()
        return self._recycle() if self._recycles and worker.idle else []

    def _revoked(self, worker: Worker, event: Revoked) -> list[SchedulerCommand]:
        self._revoking.discard(worker.number)
        worker.unqueue(event.tests)
        self._taken_back.update(event.tests)
        self._put_back(worker, event.tests)
        return self._settle(worker)

    def _died(self, worker: Worker, event: WorkerDied) -> list[SchedulerCommand]:
        del self._workers[worker.number]
        if event.running is not None:
            self._unfinished.pop(event.running, None)
            self._stock.give_back(event.running)
        self._suspect(worker, event.suspects)
        self._put_back(worker, worker.left_behind(event.running))
        self._stock.release(worker.number)
        is_barren = worker.pace.mean is None and event.running is None and not event.suspects
        return self._succeed(worker, worker.barren + 1 if is_barren else 0, event.is_crash)

    def _suspect(self, worker: Worker, tests: Sequence[int]) -> None:
        """One of these has ended their worker: each gets a process of its own."""
        for test in tests:
            del worker.running[test]
        worker.given -= len(tests)
        if tests and not self._stopping:
            self._stock.suspect(tests)
            self._recycles = True

    def _succeed(self, dead: Worker, barren: int, is_crash: bool) -> list[SchedulerCommand]:
        """Replace a dead worker if more could run than those without a test can take.

        One that had nothing more to give than its crash was to be replaced all the same, and
        does not count: so ``--forked`` runs to its end however many tests crash.
        """
        counts = is_crash and dead.left > 0
        self._crashes += counts
        hands = self._free_hands() + sum(map(self._is_hand, self._workers.values()))
        if self._open() + self._stock.fresh <= hands and not self._stock.holds(dead.number):
            return self._settle()
        if counts:
            if self.exceeded is not None or self._is_barren(barren):
                return [GiveUp(self._restarts), *self._stop()]
            self._restarts += 1
        return self._start_successor(self._new_worker(barren=barren), dead)

    def _start_successor(self, worker: Worker, predecessor: Worker) -> list[SchedulerCommand]:
        self._stock.bequeath(predecessor.number, worker.number)
        return [StartWorker(worker.number, worker.slot), *self._settle(worker)]

    def _on_retiring(self, worker: Worker, event: SchedulerEvent) -> list[SchedulerCommand]:
        """Only its stop and its end matter of a worker that was told to retire."""
        match event:
            case WorkerStopped():
                return self._stop()
            case WorkerGone() | WorkerDied():
                return self._replace(worker)
            case _:
                return []

    def _replace(self, gone: Worker) -> list[SchedulerCommand]:
        """Start the successor of a retired worker in its slot."""
        del self._retiring[gone.number]
        if self._stopping:
            return []
        successor = self._new_worker(gone.slot)
        self._stock.claim_for(gone.number)
        return self._start_successor(successor, gone)

    def _open(self) -> int:
        """Count what another worker could begin now: tests, or units."""
        return len(self._stock) + sum(map(self._stealable, self._workers.values()))

    def _stealable(self, worker: Worker, *, asides: bool = True) -> int:
        """Count what others may hope to get by revoking the worker's queue: tests, or units."""
        return self._stock.loose(worker, asides=asides)

    def _free_hands(self) -> int:
        """Count the retiring workers whose successors can take what they like."""
        return sum(not self._stock.holds(number) for number in self._retiring)

    def _is_hand(self, worker: Worker) -> bool:
        """Whether the worker, or its successor in the slot, can take what is open."""
        return worker.waits and not self._stock.holds(worker.number)

    def _is_barren(self, barren: int) -> bool:
        return self._max_restarts is None and barren >= BARREN_DEATHS

    def _stop(self) -> list[SchedulerCommand]:
        if self._stopping:
            return self._settle()
        self._stopping = True
        self._stock.close()
        queues = [worker.number for worker in self._workers.values() if worker.revocable]
        self._revoking.update(queues)
        return [self._revoke(number) for number in queues] or self._settle()

    def _revoke(self, number: int) -> Revoke:
        return Revoke(number, asides=bool(self._asides))

    def _settle(self, to_fill: Worker | None = None) -> list[SchedulerCommand]:
        return self._finish_all() if self._is_over() else self._feed(to_fill)

    def _feed(self, to_fill: Worker | None = None) -> list[SchedulerCommand]:
        """Give each idle worker something to do, and fill the queue of ``to_fill``.

        All claim before anything is dealt, so that what there is spreads over all of them.
        ``to_fill`` brought the tests that the others claim from, and keeps the front. Those who
        asked come first, for their fixtures stand; last those who still tear theirs down.
        """
        others = (worker for worker in self._workers.values() if worker is not to_fill)
        idle = sorted((worker for worker in others if worker.idle), key=_by_readiness)
        commands: list[SchedulerCommand] = []
        for worker in idle:  # what one takes of what is in line another may lack
            commands += self._assign(worker, self._stock.take_in_line(worker, self._depth(worker)))
        keeps = {worker.number: worker.keeps for worker in self._workers.values()}
        takers = self._stock.claim([worker for worker in idle if worker.idle], keeps)
        for worker in takers if to_fill is None else [*takers, to_fill]:
            commands += self._deal(worker)
        if self._recycles:
            commands += self._recycle()
        return [*commands, *self._stock.news(), *self._answer()]

    def _measured(self, event: Measured) -> list[SchedulerCommand]:
        """Start more workers if that would help: there must be something to do for each."""
        if self._growth is None or self._stopping or self._done:
            return []
        there = len(self._workers) + len(self._retiring)
        if not there or any(not worker.holds_tests for worker in self._workers.values()):
            return []
        workers = [self._new_worker() for _ in range(self._growth.more(event, there, self._open()))]
        if not workers:
            return []
        self._stock.grow(there + len(workers))
        return [*(StartWorker(w.number, w.slot) for w in workers), *self._deal_to(workers)]

    def _deal_to(self, fresh: Sequence[Worker]) -> list[SchedulerCommand]:
        """Before they are up, as at the start; what lies in queues they get when they ask."""
        keeps = {worker.number: worker.keeps for worker in self._workers.values()}
        takers = self._stock.claim(fresh, keeps)
        commands = [command for worker in takers for command in self._deal(worker)]
        return [*commands, *self._stock.news()]

    def _recycle(self) -> list[SchedulerCommand]:
        """Retire workers that wait in vain, as many as there is work for in their slots.

        The others stay, torn down: each is the last of its slot unless a crash leaves more to do.
        """
        if self._stopping:
            return []
        vain = [worker for worker in self._workers.values() if self._waits_in_vain(worker)]
        if not vain:
            return []
        holders = [worker for worker in vain if self._stock.holds(worker.number)]
        others = [worker for worker in vain if worker not in holders]
        others.sort(key=lambda worker: worker.left)
        leaving = [*holders, *others[: self._fresh_workers_due()]]
        return [command for worker in leaving for command in self._retire(worker)]

    def _waits_in_vain(self, worker: Worker) -> bool:
        """Whether there are tests that its successor could be given, and it could not."""
        if not worker.is_at_rest or (worker.left and self._stock.holds(worker.number)):
            return False
        is_needed_fresh = self._stock.fresh > 0 and not worker.is_fresh
        return worker.left < self._stock.most_needed or is_needed_fresh

    def _fresh_workers_due(self) -> int:
        """Count what is open beyond those that can take it, now or once they are up.

        What a worker begins as soon as it is up waits no longer there than for another fork.
        """
        most, workers = self._stock.most_needed, self._workers.values()
        behind = sum(map(self._stealable, workers))
        able = sum(w.waits and w.left >= most and not w.is_fresh for w in workers)
        fresh = sum(worker.is_fresh for worker in workers) + self._free_hands()
        return max(0, self._stock.fresh + max(0, len(self._stock) + behind - able) - fresh)

    def _retire(self, worker: Worker) -> list[SchedulerCommand]:
        self._retiring[worker.number] = self._workers.pop(worker.number)
        return [*_let_end(worker), Retire(worker.number)]

    def _answer(self) -> list[SchedulerCommand]:
        """Answer those who asked and got no test: by revoking elsewhere, else by the end, or by
        having them wait, if there may be something for them later. Nothing is revoked twice before
        something else has happened."""
        unanswered = [worker for worker in self._workers.values() if worker.unanswered]
        if not unanswered or self._revoking:
            return []
        takers = [worker for worker in unanswered if self._stock.may_steal(worker)]
        asides = any(not worker.running for worker in takers)  # of others, none can begin one
        workers = self._workers.values()
        victim = max(workers, key=lambda worker: self._stealable_time(worker, asides=asides))
        spare = self._stealable(victim, asides=asides)
        if self._taken_back.issuperset(victim.spare(asides=asides)):
            spare = 0
        if spare > 0 and takers:
            self._revoking.add(victim.number)
            return [self._revoke(victim.number)]
        for_later = bool(self._asides) and any(
            test in self._asides for worker in workers for test in worker.queue
        )
        commands: list[SchedulerCommand] = []
        for worker in unanswered:
            if not self._stopping and (for_later or self._stock.may_come(worker, spare)):
                commands += self._keep(worker)
            else:
                worker.question = Question.ENDED
                commands.append(End(worker.number))
        return commands

    def _keep(self, worker: Worker) -> list[SchedulerCommand]:
        if worker.question is Question.KEPT:
            return []
        worker.question = Question.KEPT
        return [Keep(worker.number, self._stock.next_of(worker))]

    def _stealable_time(self, worker: Worker, *, asides: bool) -> float:
        """Seconds of work that others may hope for; by number where tests take no time."""
        spare = self._stealable(worker, asides=asides)
        return spare * ((worker.pace.mean or self._pace.mean or 0.0) + 1e-6)

    def _asides_are_awaited(self) -> bool:
        """Whether a worker waits that could be given what others have put aside."""
        return bool(self._asides) and any(
            worker.question is Question.KEPT for worker in self._workers.values()
        )

    def _deal(self, worker: Worker) -> list[SchedulerCommand]:
        """Fill the queue of one worker."""
        count = self._depth(worker) - len(worker.queue)
        return self._assign(worker, self._stock.take(worker, count, self._ahead(worker)))

    def _depth(self, worker: Worker) -> int:
        """How many tests its queue is to hold, one at least if it waits."""
        mean = self._mean(worker)
        if self._stock.has_first:
            depth = 0
        elif self._is_cautious:
            depth = ahead_for(mean, CAUTIOUS_BUFFER)
        else:
            expected = self._expected_depth(worker)
            depth = depth_for(mean, worker.strands) if expected is None else expected
        depth = max(depth, int(worker.waits))
        worker.low = depth // 2
        return min(depth, len(worker.queue) + worker.left)

    def _expected_depth(self, worker: Worker) -> int | None:
        """As many as make up the buffer, if it is known how long the next ones take."""
        upcoming = self._stock.upcoming(worker.number) if self._outlook.is_known else None
        if upcoming is None:
            return None
        depth = len(worker.queue)
        seconds = BUFFER * worker.strands - self._outlook.all_seconds(worker.queue)
        for test in upcoming:
            seconds -= self._outlook.seconds(test)
            if seconds < 0 or depth >= DEEPEST:
                break
            depth += 1
        return max(depth, least_depth(worker.strands))

    def _ahead(self, worker: Worker) -> int:
        """How many it may have before the next unit is bound to it."""
        mean = self._mean(worker)
        if self._is_cautious:
            ahead = ahead_for(mean, CAUTIOUS_BUFFER)
        else:
            ahead = ahead_for(mean, strands=worker.strands)
        return max(ahead - len(worker.queue), int(worker.waits))

    def _mean(self, worker: Worker) -> float | None:
        return self._pace.mean if worker.pace.mean is None else worker.pace.mean

    def _assign(self, worker: Worker, tests: tuple[int, ...]) -> list[SchedulerCommand]:
        worker.queue.extend(tests)
        worker.given += len(tests)
        return [Assign(worker.number, tests)] if tests else []

    def _put_back(self, worker: Worker, tests: Sequence[int]) -> None:
        """Take note that ``tests``, assigned to the worker, are undealt again."""
        worker.given -= len(tests)
        self._stock.put_back(worker.number, tests)

    def _new_worker(self, slot: int | None = None, barren: int = 0) -> Worker:
        """Make a worker for a new slot, or for that of a retired one."""
        if slot is None:
            slot = self._next_slot
            self._next_slot += 1
        worker = Worker(self._next_number, slot, self._limit, barren, self._strands, self._asides)
        self._workers[worker.number] = worker
        self._next_number += 1
        return worker

    def _is_over(self) -> bool:
        if not self._unfinished:
            return True
        return self._stopping and not any(worker.holds_tests for worker in self._workers.values())

    def _finish_all(self) -> list[SchedulerCommand]:
        self._done = True
        commands: list[SchedulerCommand] = []
        for worker in self._workers.values():
            commands += [*_let_end(worker), Finish(worker.number)]
        self._workers.clear()
        self._retiring.clear()
        return commands


def _growth(settings: SchedulerSettings) -> Growth | None:
    if settings.most_workers is None or settings.mode is Mode.EACH:
        return None
    return Growth(settings.most_workers)


def _asides(specs: Sequence[TestSpec], settings: SchedulerSettings) -> frozenset[int]:
    """Tests that a worker puts aside, and that can go to others then: none of a unit."""
    if settings.strands == 1 or settings.mode.by_unit:
        return frozenset()
    return frozenset(spec.index for spec in specs if spec.aside)


def _let_end(worker: Worker) -> list[SchedulerCommand]:
    """Let a worker tear down the rest that waits for tests."""
    return [End(worker.number)] if worker.question is Question.KEPT and worker.idle else []


def _by_readiness(worker: Worker) -> tuple[bool, bool]:
    return worker.question is Question.ENDED, bool(worker.running)
