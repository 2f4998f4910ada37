"""Whole runs of workers that run several tests at once, against an adversary.

A worker takes tests out of its pipe ahead, starts any of those that it has, and they end in any
order; it may die of them at each moment, and what ran is suspected then. Tests that step aside it
puts into its second pipe, and takes them from there when nothing else runs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.model.estimates import NOTHING_KNOWN, Estimates, Instance
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.scheduler import Scheduler
from tests.schedule.fleet import SLICED, Record
from tests.schedule.test_runs import crash_rates, hundreds, seeds

MOST_STEPS = 20_000

MOST_REVOKES = 100
"""Of all that one event leads to: the controller hears nothing meanwhile."""


@dataclass(eq=False)
class Worker:
    """A process: its pipes, what it has sent, and the tests that it has in hand."""

    number: int
    strands: int
    asides: frozenset[int]
    pipe: deque[int | Record] = field(default_factory=deque)
    mail: deque[e.SchedulerEvent] = field(default_factory=deque)
    put_aside: deque[int] = field(default_factory=deque)
    known_aside: int = 0
    """How many it believes to be there."""
    has_lost: bool = False
    """Whether what had answered its question was revoked: then it may be answered once more."""
    planned: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)
    has_asked: bool = False
    is_answered: bool = False
    is_stopped: bool = False
    alive: bool = True
    given: int = 0

    def moves(self, random: Random, linger: float) -> list[Callable[[], None]]:
        """What it can do next; ``linger`` is the chance that no test ends now."""
        if not self.alive:
            return []
        found: list[Callable[[], None]] = []
        if self.running and random.random() >= linger:
            found.append(lambda: self.finish(random.choice(self.running)))
        if self.pipe and len(self.planned) < self.strands:
            found.append(self.read)
        has_room = len(self.running) < self.strands and not self.asides & {*self.running}
        if self.planned and has_room:
            found.append(lambda: self.start(random.choice(self.planned)))
        if self.known_aside and not (self.planned or self.running):
            found.append(self.step_aside)
        is_asking = self.has_asked or self.is_answered or self.is_stopped
        if has_room and not (self.planned or self.known_aside or is_asking):
            found.append(self.ask)
        return found

    def read(self) -> None:
        record = self.pipe.popleft()
        if isinstance(record, int):
            self.has_asked = self.is_answered = False
            if self.is_stopped:
                return
            if record in self.asides:
                self.put_aside.append(record)
                self.known_aside += 1
            else:
                self.planned.append(record)
        elif record in (Record.FINISH, Record.RETIRE):
            assert not self.planned, f"{record} with {self.planned} in hand"
            assert not self.running, f"{record} while {self.running} run"
            self.alive = False
            if record is Record.RETIRE:
                self.mail.append(e.WorkerGone(worker=self.number, at=0.0))
        else:
            is_wanted = self.has_asked or self.is_answered or self.has_lost
            assert is_wanted, f"{record} answers nothing"
            self.has_asked, self.is_answered = False, True

    def step_aside(self) -> None:
        """The first that is put aside begins; if there is none, it was revoked."""
        if not self.put_aside:
            self.known_aside = 0
            return
        self.known_aside = len(self.put_aside) - 1
        self.planned.append(self.put_aside.popleft())
        self.start(self.planned[-1])

    def ask(self) -> None:
        self.has_asked, self.has_lost = True, False
        self.mail.append(e.Asked(worker=self.number, at=0.0))

    def start(self, test: int) -> None:
        self.planned.remove(test)
        self.running.append(test)
        self.mail.append(e.Started(worker=self.number, test=test, at=0.0))

    def finish(self, test: int) -> None:
        self.running.remove(test)
        self.mail.append(e.Finished(worker=self.number, test=test, at=0.001 * (test % 7)))

    def stop(self) -> None:
        self.is_stopped = True
        self.planned.clear()
        self.known_aside = 0
        running = tuple(self.running)
        self.mail.append(e.WorkerStopped(worker=self.number, running=running, at=0.0))

    def die(self) -> None:
        self.alive = False
        culprit = self.running[0] if len(self.running) == 1 else None
        suspects = () if culprit is not None else tuple(self.running)
        self.mail.append(
            e.WorkerDied(worker=self.number, running=culprit, suspects=suspects, at=0.0)
        )


class Run:
    """The controller; a rule that is broken is an ``AssertionError``."""

    def __init__(  # noqa: PLR0917 -- hypothesis gives them in this order
        self,
        count: int,
        settings: SchedulerSettings,
        seed: int,
        asides: frozenset[int],
        estimates: Estimates = NOTHING_KNOWN,
        linger: float = 0.0,
    ) -> None:
        specs = [
            TestSpec(
                index,
                f"test_it.py::test_{index}",
                (settings.mode.by_unit and f"file{index // 5}") or None,
                fixtures=(index // 4 % 3,) if estimates.instances else (),
                aside=index in asides,
            )
            for index in range(count)
        ]
        self.scheduler = Scheduler(specs, settings, estimates)
        self.asides = asides
        self.linger = linger
        self.settings = settings
        self.random = Random(seed)
        self.workers: dict[int, Worker] = {}
        self.left = set(range(count))
        """Tests that lie in no worker."""
        self.suspects: set[int] = set()
        self.ends: Counter[int] = Counter()
        self.is_stopping = self.gave_up = False

    def play(self, crash_rate: float = 0.0, stop_at: int = -1, fail_at: int = -1) -> None:
        self.obey(self.scheduler.start(0.0))
        for step in range(MOST_STEPS):
            if step == stop_at:
                self.is_stopping = True
                self.obey(self.scheduler.handle(e.StopRequested(reason="", at=0.0)))
            alive = [worker for worker in self.workers.values() if worker.alive]
            if alive and self.random.random() < crash_rate:
                self.random.choice(alive).die()
            elif alive and step == fail_at:
                self.random.choice(alive).stop()
            moves = [move for worker in self.workers.values() for move in self.moves(worker)]
            if not moves and any(worker.running for worker in self.workers.values()):
                continue  # they linger
            if not moves:
                break
            self.random.choice(moves)()
            self.check()
        else:
            raise AssertionError("the run does not come to an end")
        assert self.scheduler.done, "deadlock"
        assert not any(worker.alive for worker in self.workers.values())
        is_cut = self.is_stopping or self.gave_up
        assert is_cut or self.ends == Counter(range(len(self.ends)))
        assert is_cut or not self.scheduler.unfinished

    def moves(self, worker: Worker) -> list[Callable[[], None]]:
        found = worker.moves(self.random, self.linger)
        return [*found, lambda: self.deliver(worker)] if worker.mail else found

    def check(self) -> None:
        for worker in self.workers.values():
            assert len(worker.running) <= self.settings.strands
            hands = {*worker.running, *worker.planned}
            assert len(worker.running) == 1 or self.asides.isdisjoint(worker.running), "not alone"
            assert hands.isdisjoint(self.suspects) or len(hands) == 1, "a suspect is not alone"
        assert max(self.ends.values(), default=0) <= 1, "a test has ended twice"

    def deliver(self, worker: Worker) -> None:
        event = worker.mail.popleft()
        match event:
            case e.Finished():
                self.ends[event.test] += 1
            case e.WorkerDied():
                lost = {*worker.running, *worker.planned, *worker.pipe, *worker.put_aside}
                self.suspects.update(event.suspects)
                if event.running is not None:
                    self.ends[event.running] += 1
                    lost.discard(event.running)
                self.left.update(test for test in lost if isinstance(test, int))
                worker.running.clear()
                worker.planned.clear()
                worker.pipe.clear()
                worker.put_aside.clear()
            case e.WorkerStopped():
                self.is_stopping = True
            case _:
                pass
        self.obey(self.scheduler.handle(event))

    def obey(self, commands: Sequence[c.SchedulerCommand]) -> None:
        todo, revokes = deque(commands), 0
        while todo:
            command = todo.popleft()
            revokes += isinstance(command, c.Revoke)
            assert revokes <= MOST_REVOKES, "tests go to and fro"
            match command:
                case c.StartWorker():
                    assert not self.is_stopping
                    started = Worker(command.worker, self.settings.strands, self.asides)
                    started.mail.append(e.WorkerReady(worker=command.worker, at=0.0))
                    self.workers[command.worker] = started
                case c.Assign():
                    self.assign(self.workers[command.worker], command.tests)
                case c.Revoke():
                    todo.extend(self.revoke(self.workers[command.worker], command))
                case c.GiveUp():
                    self.gave_up = True
                case c.Wait():
                    pass
                case _:
                    self.workers[command.worker].pipe.append(_RECORDS[type(command)])

    def assign(self, worker: Worker, tests: Sequence[int]) -> None:
        assert self.left.issuperset(tests), f"{tests} are not free"
        self.left.difference_update(tests)
        worker.pipe.extend(tests)
        worker.given += len(tests)
        assert worker.given <= (self.settings.max_tests_per_worker or worker.given)

    def revoke(self, worker: Worker, order: c.Revoke) -> list[c.SchedulerCommand]:
        tests = tuple(record for record in worker.pipe if isinstance(record, int))
        worker.pipe.clear()
        if order.asides:
            tests = (*worker.put_aside, *tests)
            worker.has_lost |= bool(worker.put_aside)
            worker.put_aside.clear()
        worker.given -= len(tests)
        self.left.update(tests)
        return self.scheduler.handle(e.Revoked(worker=worker.number, tests=tests, at=0.0))


_RECORDS: dict[type[object], Record] = {
    c.End: Record.END,
    c.Keep: Record.KEEP,
    c.Finish: Record.FINISH,
    c.Retire: Record.RETIRE,
}

runs = st.builds(
    Run,
    st.integers(0, 40),
    st.builds(
        SchedulerSettings,
        workers=st.integers(1, 4),
        mode=st.sampled_from([*SLICED, Mode.LOADFILE]),
        strands=st.integers(2, 5),
        is_cautious=st.booleans(),
        max_tests_per_worker=st.none() | st.integers(1, 12),
    ),
    seeds,
    st.frozensets(st.integers(0, 39)),
    st.just(NOTHING_KNOWN)
    | st.builds(
        Estimates,
        st.just(()) | st.tuples(*[st.sampled_from([0.001, 0.1, 5.0, None])] * 40),
        st.tuples(*[st.builds(Instance, st.just("one"), st.booleans(), st.floats(0, 20))] * 3),
    ),
    st.sampled_from([0.0, 0.5, 0.9]),
)
steps = st.integers(0, 200)


@hundreds
@given(runs)
def test_every_test_runs_exactly_once(run: Run) -> None:
    run.play()
    assert not run.gave_up


@hundreds
@given(runs, crash_rates)
def test_crashes_lose_no_test_and_suspects_run_alone(run: Run, crash_rate: float) -> None:
    run.play(crash_rate)


@hundreds
@given(runs, st.just(0.0) | crash_rates, steps)
def test_a_stop_ends_the_run_at_any_moment(run: Run, crash_rate: float, step: int) -> None:
    run.play(crash_rate, stop_at=step)


@hundreds
@given(runs, st.just(0.0) | crash_rates, steps)
def test_a_worker_that_stops_ends_what_it_runs(run: Run, crash_rate: float, step: int) -> None:
    run.play(crash_rate, fail_at=step)


def test_a_test_that_nobody_can_begin_does_not_go_round() -> None:
    """Each of two workers runs a test and has strands left; the third test runs alone."""
    for seed in range(200):
        run = Run(3, SchedulerSettings(2, strands=5), seed, frozenset({2}), linger=0.97)
        run.play()


def test_who_has_nothing_to_do_waits_for_what_may_become_spare() -> None:
    """The other worker, at rest, takes the test that it has at once: who else could know?"""
    scheduler = Scheduler(
        [TestSpec(index, f"test_it.py::test_{index}", aside=index == 2) for index in range(3)],
        SchedulerSettings(2, strands=4),
    )
    assert scheduler.start(0.0)[2:] == [c.Assign(0, (0,)), c.Assign(1, (1,))]
    assert scheduler.handle(e.Started(worker=0, test=0, at=0.0)) == [c.Assign(0, (2,))]
    scheduler.handle(e.Finished(worker=0, test=0, at=0.1))
    scheduler.handle(e.Started(worker=1, test=1, at=0.1))
    scheduler.handle(e.Finished(worker=1, test=1, at=0.2))
    assert scheduler.handle(e.Asked(worker=1, at=0.2)) == [c.Keep(1, None)]
    assert scheduler.handle(e.Started(worker=0, test=2, at=0.2)) == [c.End(1)]
