"""Tests that wait for shared fixtures do so outside of workers, while others run."""

from __future__ import annotations

import random
from collections import deque

import pytest

from pytest_braid.model.commands import (
    Assign,
    Keep,
    Retire,
    Revoke,
    SchedulerCommand,
    StartWorker,
)
from pytest_braid.model.events import (
    Asked,
    Finished,
    Revoked,
    ShareSettled,
    Started,
    StopRequested,
    WorkerGone,
    WorkerReady,
)
from pytest_braid.model.needs import Hold, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.scheduler import Scheduler


def spec(index: int, *shares: int, unit: str | None = None, **more: object) -> TestSpec:
    return TestSpec(index, f"test_{index}", unit, shares=shares, **more)  # type: ignore[arg-type]


def dealt(commands: list[SchedulerCommand]) -> list[int]:
    return [test for each in commands if isinstance(each, Assign) for test in each.tests]


def settled(share: int) -> ShareSettled:
    return ShareSettled(share=share, at=0.0)


def test_others_run_while_a_share_is_not_settled() -> None:
    scheduler = Scheduler([spec(0, 7), spec(1), spec(2, 7)], SchedulerSettings(1))
    assert dealt(scheduler.start(0.0)) == [1]
    scheduler.handle(WorkerReady(worker=0, at=0.0))
    scheduler.handle(Started(worker=0, test=1, at=0.0))
    assert scheduler.handle(Asked(worker=0, at=1.0)) == [Keep(0, None)]
    scheduler.handle(Finished(worker=0, test=1, at=1.0))
    assert dealt(scheduler.handle(settled(7))) == [0]


def test_a_test_waits_for_all_that_it_shares() -> None:
    scheduler = Scheduler([spec(0, 1, 2)], SchedulerSettings(1))
    assert dealt(scheduler.start(0.0)) == []
    assert scheduler.handle(Asked(worker=0, at=0.0)) == [Keep(0, None)]
    assert dealt(scheduler.handle(settled(1))) == []
    assert dealt(scheduler.handle(settled(2))) == [0]


def test_a_unit_waits_as_a_whole() -> None:
    specs = [spec(0, unit="a"), spec(1, 7, unit="a"), spec(2, unit="b")]
    settings = SchedulerSettings(1, Mode.LOADFILE, reorder=False)
    scheduler = Scheduler(specs, settings)
    assert dealt(scheduler.start(0.0)) == [2]
    scheduler.handle(Started(worker=0, test=2, at=0.0))
    scheduler.handle(Asked(worker=0, at=0.0))
    assert dealt(scheduler.handle(settled(7))) == [0, 1]


def test_in_each_worker_the_order_stays() -> None:
    specs = [spec(0, unit="0"), spec(1, 7, unit="0"), spec(2, unit="0")]
    scheduler = Scheduler(specs, SchedulerSettings(1, Mode.EACH))
    assert dealt(scheduler.start(0.0)) == [0]
    scheduler.handle(Started(worker=0, test=0, at=0.0))
    assert scheduler.handle(Asked(worker=0, at=0.0)) == [Keep(0, None)]
    assert dealt(scheduler.handle(settled(7)))[:1] == [1]


def test_in_line_who_waits_for_a_share_keeps_nothing_from_others() -> None:
    write = Needs((Hold("db"),))
    specs = [spec(0, 7, needs=write), spec(1, needs=write)]
    scheduler = Scheduler(specs, SchedulerSettings(1))
    assert dealt(scheduler.start(0.0)) == [1]
    scheduler.handle(Started(worker=0, test=1, at=0.0))
    assert scheduler.handle(Asked(worker=0, at=0.0)) == [Keep(0, None)]
    scheduler.handle(Finished(worker=0, test=1, at=0.0))
    assert dealt(scheduler.handle(settled(7))) == [0]


def test_after_a_stop_nothing_is_let_out() -> None:
    scheduler = Scheduler([spec(0, 7), spec(1)], SchedulerSettings(1))
    scheduler.start(0.0)
    scheduler.handle(Started(worker=0, test=1, at=0.0))
    scheduler.handle(StopRequested(reason="-x", at=0.0))
    assert scheduler.handle(settled(7)) == []
    scheduler.handle(Finished(worker=0, test=1, at=0.0))
    assert scheduler.done
    assert scheduler.unfinished == [0]


MODES = [Mode.LOAD, Mode.WORKSTEAL, Mode.LOADFILE, Mode.EACH]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [None, 1, 2])
def test_every_test_runs_once_and_none_before_its_shares(mode: Mode, limit: int | None) -> None:
    for seed in range(150):
        _play(random.Random(seed), mode, limit)


class _Fleet:
    """Obedient workers: they start what they are dealt, and ask when they have nothing."""

    def __init__(self, draw: random.Random, specs: list[TestSpec], scheduler: Scheduler) -> None:
        self.draw, self.specs, self.scheduler = draw, specs, scheduler
        self.queues: dict[int, list[int]] = {}
        self.retiring: set[int] = set()
        self.asked: set[int] = set()
        self.running: dict[int, int] = {}
        self.ran: list[int] = []
        self.unsettled = sorted({share for spec in specs for share in spec.shares})

    def carry_out(self, commands: list[SchedulerCommand]) -> None:
        rest = deque(commands)
        while rest:
            match command := rest.popleft():
                case StartWorker():
                    self.queues[command.worker] = []
                case Assign():
                    self.queues[command.worker] += command.tests
                    self.asked.discard(command.worker)
                case Retire():
                    self.retiring.add(command.worker)
                case Revoke():
                    tests = tuple(self.queues[command.worker])
                    self.queues[command.worker].clear()
                    event = Revoked(worker=command.worker, tests=tests, at=0.0)
                    rest.extend(self.scheduler.handle(event))
                case _:
                    pass

    def turn(self) -> list[SchedulerCommand]:
        pick = self.draw.randrange(len(self.queues) + bool(self.unsettled))
        if pick == len(self.queues):
            return self.scheduler.handle(settled(self.unsettled.pop()))
        return self.step([*self.queues][pick])

    def step(self, worker: int) -> list[SchedulerCommand]:
        if worker in self.running:
            test = self.running.pop(worker)
            self.ran.append(test)
            return self.scheduler.handle(Finished(worker=worker, test=test, at=0.0))
        if worker in self.retiring:
            del self.queues[worker]
            return self.scheduler.handle(WorkerGone(worker=worker, at=0.0))
        if self.queues[worker]:
            return self.begin(worker, self.queues[worker].pop(0))
        if worker in self.asked:
            return []
        self.asked.add(worker)
        return self.scheduler.handle(Asked(worker=worker, at=0.0))

    def begin(self, worker: int, test: int) -> list[SchedulerCommand]:
        assert not {*self.specs[test].shares} & {*self.unsettled}, "before its share is settled"
        self.running[worker] = test
        return self.scheduler.handle(Started(worker=worker, test=test, at=0.0))


def _play(draw: random.Random, mode: Mode, limit: int | None) -> None:
    shares = draw.randint(1, 3)
    specs = [
        spec(
            n,
            *(s for s in range(shares) if draw.random() < 0.4),
            unit=draw.choice("ab") if mode.by_unit else None,
            own_process=draw.random() < 0.1 and mode is not Mode.EACH,
            needs=draw.choice([Needs(), Needs(), Needs((Hold("db"),)), Needs(cpus=2)]),
        )
        for n in range(draw.randint(1, 10))
    ]
    scheduler = Scheduler(specs, SchedulerSettings(2, mode, max_tests_per_worker=limit))
    fleet = _Fleet(draw, specs, scheduler)
    fleet.carry_out(scheduler.start(0.0))
    for _ in range(1000):
        if scheduler.done:
            break
        fleet.carry_out(fleet.turn())
    assert sorted(fleet.ran) == [*range(len(specs))], (mode, scheduler.unfinished)
