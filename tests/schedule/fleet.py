"""A simulated controller with its workers: whole runs for the scheduler, without processes.

A worker is a generator: it yields wherever another process may get ahead of it. Its pipe is a
deque that the controller writes at once; what it sends lies in its ``mail`` until somebody
delivers it (``plays.py`` decides when). A broken rule is an ``AssertionError``.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Container, Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
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
    Wait,
)
from pytest_braid.model.estimates import Estimates, Instance
from pytest_braid.model.events import (
    Asked,
    Finished,
    FixtureSetUp,
    Measured,
    Revoked,
    SchedulerEvent,
    Started,
    StopRequested,
    WorkerDied,
    WorkerGone,
    WorkerReady,
    WorkerStopped,
)
from pytest_braid.model.needs import PLAIN, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.scheduler import Scheduler

SLICED = (Mode.LOAD, Mode.WORKSTEAL)
"""The modes in which any test may run anywhere."""


def is_clash(one: Needs, other: Needs) -> bool:
    """Whether one takes away what the other needs, however much of it there is."""
    others = {hold.name: hold for hold in other.holds}
    return one.circle != other.circle or any(
        hold.name in others and not (hold.is_shared and others[hold.name].is_shared)
        for hold in one.holds
    )


class Record(Enum):
    """What can lie in a pipe besides tests."""

    END = "end"
    KEEP = "keep"
    RETIRE = "retire"
    FINISH = "finish"


class Pause(Enum):
    """Why a worker yields."""

    BUSY = "busy"
    BODY = "body"
    """The test's own time passes."""
    BLOCKED = "blocked"


Steps = Generator[Pause, None, None]
Taking = Generator[Pause, None, int | Record]


@dataclass
class Habits:
    """What the processes may do in one way or the other."""

    asks_in_teardown: bool = True
    """Whether the next test is looked for in the teardown, or between tests."""
    announces_first: bool = True
    """Whether ``Started`` is sent before the running test is in shared memory, or after."""
    revoke_keeps_end: bool = False
    """Whether the controller puts back an ``End`` that it finds while revoking."""
    revoke_reads_dead: bool = True
    """Whether revoking from a worker that has just died yields its tests, or nothing."""
    answers_at_once: bool = True
    """Whether ``Revoked`` is told before the commands that came with the ``Revoke``, or after."""
    controller_stops_first: bool = True
    """Whether the controller sees by itself that a failed test stops the run, or is told."""
    retired_only_go: bool = True
    """Whether the death of a worker that was told to retire is told as any other end of it."""


@dataclass(eq=False)
class SimWorker:
    """One worker process, its pipe and what it has sent."""

    number: int
    slot: int
    fleet: Fleet
    pipe: deque[int | Record] = field(default_factory=deque)
    mail: deque[SchedulerEvent] = field(default_factory=deque)
    pause: Pause = Pause.BUSY
    alive: bool = True
    taken: list[int] = field(default_factory=list)
    """Tests out of the pipe that are not finished: the running one, and perhaps the next."""
    ever_taken: list[int] = field(default_factory=list)
    """All tests that it has read from its pipe."""
    looking: bool = False
    """Whether it is about to read its pipe."""
    stopped: bool = False
    """Whether it starts nothing more."""
    live: tuple[int, ...] = ()
    """The instances that its running test, or its last one, uses."""
    culprit: int | None = None
    """The running test as shared memory has it."""
    started_at: float = 0.0

    def __post_init__(self) -> None:
        self.steps = self.life()

    @property
    def queued(self) -> list[int]:
        return [record for record in self.pipe if isinstance(record, int)]

    @property
    def has_to_spare(self) -> bool:
        """Whether tests lie in its pipe that it does not take at once."""
        at_once = 0 if self.taken and not self.looking else 1
        return self.alive and not self.stopped and self.fleet.has_loose(self.queued, at_once)

    @property
    def can_advance(self) -> bool:
        return self.alive and (self.pause is not Pause.BLOCKED or bool(self.pipe))

    def advance(self) -> None:
        """Let it run to its next pause."""
        try:
            self.pause = next(self.steps)
        except StopIteration:
            self.alive = False

    def die(self) -> None:
        """End the process. What it has sent still arrives, then the news of its death."""
        self.alive = False
        for test in self.taken:
            self.fleet.running.pop(test, None)
        if self.culprit is not None:
            self.fleet.note_outcome(self.culprit)
        self.mail.append(WorkerDied(at=self.fleet.now, worker=self.number, running=self.culprit))

    def life(self) -> Steps:
        yield Pause.BUSY
        self.mail.append(WorkerReady(at=self.fleet.now, worker=self.number))
        record = yield from self.take()
        while record not in (Record.FINISH, Record.RETIRE):
            if isinstance(record, int) and not self.stopped:
                record = yield from self.run(record)
            else:
                record = yield from self.wait()
        if record is Record.RETIRE:
            yield Pause.BUSY
            self.mail.append(WorkerGone(at=self.fleet.now, worker=self.number))

    def run(self, test: int) -> Taking:
        yield from self.announce(test)
        yield Pause.BODY
        self.set_up(test)
        if self.fleet.habits.asks_in_teardown:
            record = yield from self.take()
            assert record is not Record.RETIRE, "told to retire before all is torn down"
            yield Pause.BUSY
            self.finish(test)
        else:
            self.finish(test)
            yield Pause.BUSY
            record = Record.END if test in self.fleet.fatal else (yield from self.take())
        if test in self.fleet.fatal:
            self.stop()
        return record

    def missing(self, test: int) -> list[int]:
        """The instances that it must set up."""
        return [one for one in self.fleet.fixtures[test] if one not in self.live]

    def set_up(self, test: int) -> None:
        for one in self.missing(test):
            self.fleet.setups[one] += 1
            event = FixtureSetUp(
                at=self.fleet.now,
                worker=self.number,
                test=test,
                fixture=str(one),
                seconds=self.fleet.costs[one],
            )
            self.mail.append(event)
        self.live = self.fleet.fixtures[test]

    def stop(self) -> None:
        """Start nothing more; what it reads from now on, other than Finish, is lost."""
        self.stopped = True
        self.taken.clear()
        self.mail.append(WorkerStopped(at=self.fleet.now, worker=self.number))

    def announce(self, test: int) -> Steps:
        steps = [self.send_started, self.mark_running]
        for step in steps if self.fleet.habits.announces_first else reversed(steps):
            yield Pause.BUSY
            step(test)

    def send_started(self, test: int) -> None:
        self.fleet.note_start(self.number, test)
        self.started_at = self.fleet.now
        self.mail.append(Started(at=self.fleet.now, worker=self.number, test=test))

    def mark_running(self, test: int) -> None:
        self.culprit = test

    def finish(self, test: int) -> None:
        self.fleet.note_outcome(test)
        self.taken.remove(test)
        self.culprit = None
        # Where time stands still, durations are told all the same.
        at = max(self.fleet.now, self.started_at + self.fleet.durations[test])
        self.mail.append(Finished(at=at, worker=self.number, test=test))

    def take(self) -> Taking:
        """Read a record; ask if there is none."""
        self.looking = True
        yield Pause.BUSY
        if self.pipe:
            record = self.read()
            assert record is not Record.END, f"End for gw{self.number}, which asked nothing"
            return record
        yield Pause.BUSY  # here an assignment crosses the question
        self.fleet.questions += 1
        self.mail.append(Asked(at=self.fleet.now, worker=self.number))
        while not self.pipe:
            yield Pause.BLOCKED
        return self.read()

    def wait(self) -> Taking:
        """Read a record after an End, without asking; skip a second End."""
        record: int | Record = Record.END
        while record in (Record.END, Record.KEEP):
            while not self.pipe:
                yield Pause.BLOCKED
            record = self.read()
        return record

    def read(self) -> int | Record:
        self.looking = False
        record = self.pipe.popleft()
        if isinstance(record, int) and not self.stopped:
            self.taken.append(record)
            self.ever_taken.append(record)
            self.fleet.note_taken(self, record)
        return record


class Fleet:
    """The controller: carries out commands and checks each of them."""

    def __init__(  # noqa: PLR0915 -- all that is known of a run
        self,
        durations: Sequence[float],
        settings: SchedulerSettings,
        habits: Habits | None = None,
        *,
        fatal: Container[int] = (),
        units: Sequence[str | None] = (),
        alone: Container[int] = (),
        with_unit: bool = False,
        needs: Sequence[Needs] = (),
        fixtures: Sequence[tuple[int, ...]] = (),
        costs: Sequence[float] = (),
        estimates: Estimates | None = None,
    ) -> None:
        """Plan a run of tests that take ``durations``; ``fatal`` ones stop it by failing.

        ``units`` are those of the tests, one for each or none at all; ``alone`` ones run in
        processes of their own, ``with_unit`` or without. ``needs`` are of the first tests.
        ``fixtures`` are the instances of the first tests, and ``costs`` what their setup takes.
        """
        self.fixtures = [*fixtures, *[()] * len(durations)][: len(durations)]
        self.costs = costs
        self.setups: Counter[int] = Counter()
        """How often each instance was set up."""
        self.with_unit = with_unit
        self.next_command: SchedulerCommand | None = None
        self.needs = [*needs, *[PLAIN] * len(durations)][: len(durations)]
        self.running: dict[int, int] = {}
        """Tests that run, and where."""
        self.lacked: dict[int, Wait] = {}
        """What tests were last told to wait for."""
        self.alone = alone
        self.durations = durations
        self.units = units or [None] * len(durations)
        self.settings = settings
        self.habits = habits or Habits()
        self.fatal = fatal
        self.now = 0.0
        self.sizes = Counter(filter(None, map(self.unit_of, range(len(durations)))))
        self.trace: list[SchedulerEvent | SchedulerCommand] = []
        self.questions = 0
        self.most_queued = 0
        self.order: list[tuple[int, int]] = []
        """(worker, test) in the order in which tests started."""
        self.workers: dict[int, SimWorker] = {}
        self.over: set[int] = set()
        """Workers that were told to finish or whose death was told, or that retired."""
        self.retiring: set[int] = set()
        """Workers that were told to retire."""
        self.given: Counter[int] = Counter()
        """Tests assigned to each worker, less those taken back."""
        self.own_share: dict[int, int] = {}
        """Of workers that run one unit in a process of its own: how many tests that was."""
        self.excused = False
        """Whether the worker that died last had nothing more to run."""
        self.restarts = 0
        """Successors of crashed workers, other than excused ones."""
        self.asking: set[int] = set()
        """Workers whose question was told and not answered by an End yet."""
        self.kept: set[int] = set()
        """Those of them that were told to wait."""
        self.ended: set[int] = set()
        """Workers that were told End and have not been heard of since."""
        self.undealt = set(range(len(durations)))
        self.outcomes: Counter[int] = Counter()
        self.announced: set[int] = set()
        """Tests whose start was told."""
        self.told: set[int] = set()
        """Tests whose outcome was told to the scheduler."""
        self.starts: Counter[int] = Counter()
        """Starts of each test, less those by workers that died between the word and the deed."""
        self.carrier: dict[str, int] = {}
        """The worker that was the last to take a test of the unit."""
        self.latest: dict[str, int] = {}
        """The test of the unit that was the last to start."""
        self.measured: Measured | None = None
        """What is measured after each event, if anything is."""
        self.stopping = False
        self.gave_up = False
        specs = [
            TestSpec(
                index,
                f"test_it.py::test_{index}",
                unit,
                index in alone,
                self.needs[index],
                with_unit and index in alone,
                self.fixtures[index],
            )
            for index, unit in enumerate(self.units)
        ]
        if estimates is None:
            estimates = Estimates((), tuple(Instance(str(n), True) for n in range(len(costs))))
        self.knows_durations = any(one is not None for one in estimates.durations)
        self.scheduler = Scheduler(specs, settings, estimates)

    # The scheduler is told ...

    def start(self) -> None:
        self.carry_out(self.scheduler.start(self.now))

    def stop(self) -> None:
        self.stopping = True
        self.tell(StopRequested(at=self.now, reason="stopping after 1 failures"))

    def deliver(self, worker: SimWorker) -> None:
        """Tell the oldest thing that the worker has sent."""
        event = worker.mail.popleft()
        if isinstance(event, WorkerDied) and self.is_only_gone(worker):
            event = WorkerGone(at=event.at, worker=event.worker)
        match event:
            case Asked():
                self.asking.add(worker.number)
            case Started():
                self.announced.add(event.test)
                self.asking.discard(worker.number)
                self.kept.discard(worker.number)
                self.ended.discard(worker.number)
            case Finished():
                self.told.add(event.test)
            case WorkerDied():
                self.bury(worker, event.running)
            case WorkerGone():
                self.over.add(worker.number)
            case WorkerStopped():
                self.stopping = True
            case _:
                pass
        self.tell(event)
        if isinstance(event, Finished) and event.test in self.fatal:
            self.stop_if_seen()

    def is_only_gone(self, worker: SimWorker) -> bool:
        return worker.number in self.retiring and self.habits.retired_only_go

    def stop_if_seen(self) -> None:
        if self.habits.controller_stops_first:
            self.stop()

    def tell(self, event: SchedulerEvent) -> None:
        self.carry_out(self.answers(event))
        if self.measured is not None and not isinstance(event, Measured):
            self.tell(self.measured)

    def answers(self, event: SchedulerEvent) -> list[SchedulerCommand]:
        self.trace.append(event)
        return self.scheduler.handle(event)

    # ... and has commands carried out.

    def carry_out(self, commands: Sequence[SchedulerCommand]) -> None:
        queue = deque(commands)
        last = len(self.trace) + 10 * (len(self.durations) + len(self.workers) + 10)
        while queue:
            assert len(self.trace) < last, "one event leads to ever more commands"
            command = queue.popleft()
            self.next_command = queue[0] if queue else None
            self.trace.append(command)
            more = self.obey(command)
            if self.habits.answers_at_once:
                queue.extendleft(reversed(more))
            else:
                queue.extend(more)

    def obey(self, command: SchedulerCommand) -> list[SchedulerCommand]:
        match command:
            case StartWorker():
                self.start_worker(command.worker, command.slot)
            case Assign():
                self.assign(self.reachable(command.worker), command.tests)
            case Revoke():
                return self.revoke(self.reachable(command.worker))
            case End():
                self.end(self.reachable(command.worker))
            case Keep():
                self.keep(self.reachable(command.worker), command.until)
            case Wait():
                self.lacked[command.test] = command
            case Finish():
                self.finish(self.reachable(command.worker))
            case Retire():
                self.retire(self.reachable(command.worker))
            case GiveUp():
                self.give_up(command.restarts)
            case _:
                assert_never(command)
        return []

    def start_worker(self, number: int, slot: int) -> None:
        assert not self.stopping, "a worker is started after a stop"
        assert number == len(self.workers), "numbers of workers count up and are used once"
        self.check_slot(slot)
        self.workers[number] = SimWorker(number, slot, self)
        places = max(self.slots, self.settings.most_workers or 0)
        assert len(self.known_alive()) <= places, "more workers than slots"
        # Three deaths in a row without an outcome end a run without a limit.
        most = 3 * (self.slots + len(self.durations)) + len(self.retiring)
        assert self.settings.max_restarts is not None or number < most, "endless restarts"

    def check_slot(self, slot: int) -> None:
        """It is that of a worker that retired and is gone, or a new one."""
        earlier = [worker.number for worker in self.workers.values() if worker.slot == slot]
        if earlier:
            assert self.has_retired(earlier[-1]), f"slot {slot} is not that of a retired worker"
            return
        slots = len({worker.slot for worker in self.workers.values()})
        assert slot == slots, "numbers of slots count up"
        self.restarts += slot >= self.slots and not self.excused

    def assign(self, worker: SimWorker, tests: Sequence[int]) -> None:
        assert tests, "an empty assignment"
        assert worker.number not in self.retiring, "tests for a worker that was told to retire"
        assert not self.stopping, "tests are assigned after a stop"
        assert self.undealt.issuperset(tests), f"{tests} are assigned, but not all are free"
        if tests[0] in self.alone and not self.given[worker.number]:
            mates = [test for test in self.undealt if self.are_mates(test, tests[0])]
            self.own_share[worker.number] = len(mates)
        self.undealt.difference_update(tests)
        self.given[worker.number] += len(tests)
        assert self.given[worker.number] <= self.share(worker), "more tests than a worker may run"
        if self.settings.mode is Mode.LOAD and self.settings.max_chunk:
            assert len(tests) <= self.settings.max_chunk, "more tests than may go out at once"
        self.check_units(worker, tests)
        self.check_order(tests)
        worker.pipe.extend(tests)
        self.most_queued = max(self.most_queued, len(worker.queued))

    def revoke(self, worker: SimWorker) -> list[SchedulerCommand]:
        assert worker.number not in self.retiring, "tests of a retiring worker"
        tests: list[int] = []
        if worker.alive or self.habits.revoke_reads_dead:
            tests = worker.queued
            had_end = Record.END in worker.pipe
            worker.pipe.clear()
            if had_end and self.habits.revoke_keeps_end:
                worker.pipe.append(Record.END)
        self.undealt.update(tests)
        self.given[worker.number] -= len(tests)
        if worker.number in self.ended:
            self.asking.add(worker.number)  # its End may have been among what was taken back
        return self.answers(Revoked(at=self.now, worker=worker.number, tests=tuple(tests)))

    def keep(self, worker: SimWorker, until: int | None) -> None:
        assert worker.number in self.asking, f"Keep for gw{worker.number}, which does not ask"
        assert not self.stopping, "Keep after a stop"
        # A worker may have taken from its pipe what it has not announced yet.
        some = self.undealt or not self.announced.issuperset(range(len(self.durations)))
        assert some or self.costs
        assert until is None or until in self.undealt
        self.kept.add(worker.number)
        worker.pipe.append(Record.KEEP)

    def end(self, worker: SimWorker) -> None:
        assert worker.number in self.asking, f"End for gw{worker.number}, which does not ask"
        self.asking.discard(worker.number)
        self.ended.add(worker.number)
        if not self.stopping and not self.is_dismissed(worker):
            waiting = {test for test in self.undealt if self.could_take(worker, test)}
            if self.costs:  # a chain may be worth more than a worker's time
                waiting.clear()
            assert not waiting, f"End while {waiting} are undealt"
            spare = [other.number for other in self.workers.values() if other.has_to_spare]
            able = self.could_take_any(worker)
            assert not spare or not able or self.costs, (
                f"End while workers {spare} have tests to spare"
            )
        worker.pipe.append(Record.END)

    def is_dismissed(self, worker: SimWorker) -> bool:
        """Whether it was told to wait, and is told to end because it is to go."""
        then = self.next_command
        goes = isinstance(then, Retire | Finish) and then.worker == worker.number
        return goes and worker.number in self.kept

    def finish(self, worker: SimWorker) -> None:
        assert self.scheduler.done, "Finish before the scheduler is done"
        assert worker.number not in self.retiring, "Finish after Retire"
        holders = [other.number for other in self.known_alive() if other.taken]
        assert not holders, f"Finish while workers {holders} hold tests"
        self.over.add(worker.number)
        worker.pipe.append(Record.FINISH)

    def retire(self, worker: SimWorker) -> None:
        assert not self.stopping, "Retire after a stop"
        assert not worker.taken, f"Retire while gw{worker.number} holds {worker.taken}"
        assert not worker.queued, "Retire with tests in the pipe"
        assert worker.ever_taken or not worker.alive, "Retire for a fresh worker"
        assert len(self.announced) < len(self.durations), "Retire although nothing waits"
        self.retiring.add(worker.number)
        worker.pipe.append(Record.RETIRE)

    def give_up(self, restarts: int) -> None:
        assert not self.stopping, "giving up after a stop"
        assert not self.excused, "giving up after the crash of a worker that was to be replaced"
        assert restarts == self.restarts or self.settings.most_workers is not None
        limit = self.settings.max_restarts
        assert limit is None or (restarts <= limit < self.scheduler.crashes)
        self.stopping = self.gave_up = True

    # What becomes of tests.

    def note_taken(self, worker: SimWorker, test: int) -> None:
        """The worker has a test out of its pipe, so the unit has begun there."""
        many = len(worker.ever_taken)
        assert many <= self.share(worker), f"gw{worker.number} takes {many} tests"
        first = worker.ever_taken[0]
        if first in self.alone or test in self.alone:
            assert self.are_mates(first, test), f"{test} is not alone"
        unit = self.unit_of(test)
        if unit is not None:
            assert self.may_carry(worker, unit), f"{unit} has begun elsewhere"
            self.carrier[unit] = worker.number

    def note_start(self, worker: int, test: int) -> None:
        unit = self.unit_of(test)
        if unit is not None:
            assert self.latest.get(unit, -1) <= test, f"{unit} is out of order"
            self.latest[unit] = test
        self.check_needs(test)
        self.running[test] = worker
        self.order.append((worker, test))
        self.starts[test] += 1
        assert self.starts[test] == 1, f"test {test} is started twice"

    def note_outcome(self, test: int) -> None:
        self.running.pop(test, None)
        self.outcomes[test] += 1
        assert self.outcomes[test] == 1, f"test {test} has two outcomes"

    def bury(self, worker: SimWorker, running: int | None) -> None:
        """Work out which tests a dead worker leaves free."""
        self.over.add(worker.number)
        if running is not None:
            self.told.add(running)
            self.announced.add(running)
        slot_of = {number: other.slot for number, other in self.workers.items()}
        self.carrier = {u: by for u, by in self.carrier.items() if slot_of[by] != worker.slot}
        lost = [test for test in worker.taken if test != running]
        self.excused = not self.may_be_given(worker) and not lost and not worker.queued
        self.undealt.update(worker.queued, lost)
        self.announced.difference_update(lost)
        self.starts.subtract(test for test in lost if self.starts[test])
        worker.pipe.clear()
        worker.taken.clear()

    # What is so.

    @property
    def slots(self) -> int:
        if self.settings.mode is Mode.EACH:
            return len(set(self.units) - {None}) + self.units.count(None)
        units = [self.unit_of(test) for test in range(len(self.durations))]
        return min(self.settings.workers, len(set(units) - {None}) + units.count(None))

    @property
    def limit(self) -> float:
        return self.settings.max_tests_per_worker or math.inf

    def unit_of(self, test: int) -> str | None:
        unit = self.units[test]
        if test in self.alone:
            return f"{unit} in a process of its own" if unit and self.with_unit else None
        return unit if self.settings.mode.by_unit else None

    def are_mates(self, one: int, other: int) -> bool:
        """Whether they are the same, or of the same unit."""
        unit = self.unit_of(one)
        return one == other or (unit is not None and unit == self.unit_of(other))

    def may_carry(self, worker: SimWorker, unit: str) -> bool:
        """Whether the unit has not begun, or goes on where it has, after a recycling perhaps."""
        carrier = self.workers[self.carrier.get(unit, worker.number)]
        is_long = self.sizes[unit] > self.limit or self.counts  # or it had to let others pass
        is_split = is_long and self.has_retired(carrier.number)
        return carrier is worker or (is_split and carrier.slot == worker.slot)

    def has_retired(self, number: int) -> bool:
        return number in self.retiring and number in self.over

    def may_be_given(self, worker: SimWorker) -> bool:
        """Whether the worker has not had its share."""
        return self.given[worker.number] < self.share(worker)

    def share(self, worker: SimWorker) -> float:
        """How many tests it may be given: those of one unit, if they have their own process."""
        return self.own_share.get(worker.number, self.limit)

    def could_take(self, worker: SimWorker, test: int) -> bool:
        """Whether the worker may be given the test, which lies in no queue."""
        unit = self.unit_of(test)
        is_free = unit is None or (unit not in self.carrier and not self.is_queued(unit))
        if test in self.alone:
            return is_free and not self.given[worker.number]
        return is_free and self.could_take_any(worker)

    def could_take_any(self, worker: SimWorker) -> bool:
        """Whether the worker may be given whatever others have to spare."""
        largest = 1
        if self.settings.mode.by_unit and self.settings.max_tests_per_worker:
            largest = max(self.sizes.values(), default=1)
        enough = min(self.limit, largest) <= self.limit - self.given[worker.number]
        is_each = self.settings.mode is Mode.EACH
        is_shared = worker.number not in self.own_share
        return enough and self.may_be_given(worker) and is_shared and not is_each

    def has_loose(self, queued: Sequence[int], at_once: int) -> bool:
        """Whether something can go elsewhere, although the first ``at_once`` stay."""
        if any(map(self.stands_in_line, queued)):
            return False
        if not self.settings.mode.by_unit:
            return len(queued) > at_once
        stays = {*self.carrier, *map(self.unit_of, queued[:at_once])} - {None}
        is_each = self.settings.mode is Mode.EACH
        return not is_each and any(self.unit_of(test) not in stays for test in queued[at_once:])

    def stands_in_line(self, test: int) -> bool:
        """Whether it, or another of its unit, needs more than a worker."""
        mates = [other for other in range(len(self.durations)) if self.are_mates(test, other)]
        return test in self.alone or any(self.needs[other] != PLAIN for other in mates)

    def is_queued(self, unit: str) -> bool:
        queues = (worker.queued for worker in self.known_alive())
        return any(self.unit_of(test) == unit for queue in queues for test in queue)

    def check_order(self, tests: Sequence[int]) -> None:
        """Nobody was passed by who takes what it needs."""
        if self.settings.mode not in SLICED or self.with_unit or not self.needy:
            return
        if self.knows_durations:  # then who takes longest comes first
            return
        for test in tests:
            mine = self.ranks[test], self.needs[test]
            passed = [
                other
                for other in self.undealt
                if self.ranks[other] < mine[0] and is_clash(self.needs[other], mine[1])
            ]
            assert not passed, f"{passed} were passed by {test}"

    @cached_property
    def needy(self) -> bool:
        """Whether any test needs more than a worker."""
        return any(needs != PLAIN for needs in self.needs)

    @cached_property
    def ranks(self) -> list[tuple[int, int]]:
        """The place of each test in line."""
        circles = [needs.circle for needs in self.needs]
        first = {circle: circles.index(circle) for circle in {*circles}}
        return [
            (len(circles) if circle is None else first[circle], test)
            for test, circle in enumerate(circles)
        ]

    def check_needs(self, test: int) -> None:
        """It may run beside those that run."""
        running = [self.needs[other] for other in (*self.running, test)]
        assert len({needs.circle for needs in running}) == 1, f"{test} or another is not alone"
        cpus = sum(needs.cpus for needs in running)
        assert cpus == len(running) or cpus <= max(self.settings.workers, self.slots), (
            "too many cpus"
        )
        limits = dict(self.settings.resources)
        for name in {hold.name for needs in running for hold in needs.holds}:
            holds = [hold for needs in running for hold in needs.holds if hold.name == name]
            taken = sum(hold.slots for hold in holds if not hold.is_shared)
            assert taken <= limits.get(name, 1), f"too many have {name}"
            readers = any(hold.is_shared for hold in holds)
            assert not (taken and readers), f"{name} is read and written"

    @property
    def counts(self) -> bool:
        """Whether others matter to tests that need nothing."""
        return any(needs.cpus > 1 or needs.circle for needs in self.needs)

    def check_units(self, worker: SimWorker, tests: Sequence[int]) -> None:
        """None of their units is in two workers."""
        units = {self.unit_of(test) for test in tests} - {None}
        begun = {unit for unit in units if not self.may_carry(worker, str(unit))}
        assert not begun, f"{begun} go to gw{worker.number}, but have begun elsewhere"
        for other in self.known_alive():
            held = units.intersection(map(self.unit_of, other.queued))
            assert other is worker or not held, f"{held} are in two queues"

    def count(self, kind: type[SchedulerCommand | SchedulerEvent]) -> int:
        return sum(isinstance(entry, kind) for entry in self.trace)

    def reachable(self, number: int) -> SimWorker:
        assert number in self.workers, f"gw{number} was never started"
        assert number not in self.over, f"gw{number} is dead or was told to finish"
        return self.workers[number]

    def known_alive(self) -> list[SimWorker]:
        return [worker for worker in self.workers.values() if worker.number not in self.over]

    def can_go_on(self) -> bool:
        return any(worker.can_advance or worker.mail for worker in self.workers.values())

    @staticmethod
    def heeds(worker: SimWorker) -> bool:
        """Whether it would start what lies in its pipe."""
        return worker.alive and not worker.stopped

    def check(self) -> None:
        """What holds after every event."""
        missing = [test for test in range(len(self.durations)) if test not in self.told]
        assert self.scheduler.unfinished == missing
        if self.scheduler.done:
            left = {worker.number for worker in self.known_alive()} - self.retiring
            assert not left, f"done, but workers {left} were not told to finish"
        if self.stopping:
            assert not any(worker.queued for worker in self.known_alive() if self.heeds(worker))
        else:
            assert self.scheduler.done == (not missing)

    def check_end(self) -> None:
        """What holds when nothing moves any more."""
        assert self.scheduler.done, "deadlock: all workers wait and nothing is on its way"
        assert not any(worker.alive for worker in self.workers.values()), "a worker never ended"
        if not self.stopping:
            assert self.outcomes == Counter(range(len(self.durations)))
