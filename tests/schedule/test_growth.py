"""Simulated fleets that grow, or do not, by what is measured of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pytest_braid.model.commands import Assign, StartWorker
from pytest_braid.model.events import Measured
from pytest_braid.model.tests import Mode, SchedulerSettings
from pytest_braid.schedule.growth import Growth
from tests.schedule.fleet import SLICED, Fleet
from tests.schedule.plays import Clock, Mischief, play_adversary

GIB = 1 << 30


def measured(
    cpu: float = 0.1, busy: float = 0.1, free: int = 8 * GIB, each: int = GIB // 32
) -> Measured:
    return Measured(at=0.0, cpu=cpu, busy=busy, cores=2.0, free=free, memory=16 * GIB, each=each)


WAITING = measured()


def grown(*seen: Measured, most: int = 16, work: int = 1000) -> list[int]:
    """How many workers there are after each measurement."""
    growth, workers, counts = Growth(most), 2, list[int]()
    for each in seen:
        workers += growth.more(each, workers, work)
        counts.append(workers)
    return counts


def test_while_tests_wait_there_are_twice_as_many_again_and_again() -> None:
    assert grown(*[WAITING] * 9) == [2, 4, 4, 4, 8, 8, 8, 16, 16]


def test_one_measurement_may_be_chance() -> None:
    assert grown(WAITING, measured(2.0, 2.0), WAITING, measured(2.0, 2.0)) == [2] * 4


def test_two_together_count_however_little_each_of_them_says() -> None:
    assert grown(measured(1.6, 1.6), measured(1.0, 1.0)) == [2, 2]  # no room for one more
    assert grown(measured(1.6, 1.6), measured(0.6, 0.6)) == [2, 3]
    assert grown(measured(1.6, 1.6), measured(1.6, 1.6)) == [2, 2]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(measured(1.8, 1.9), id="tests-compute"),
        pytest.param(measured(0.1, 1.9), id="others-compute"),
        pytest.param(measured(1.2, 1.6), id="tests-compute-and-others-too"),
        pytest.param(measured(free=GIB), id="memory-is-short"),
        pytest.param(measured(each=8 * GIB), id="workers-are-large"),
    ],
)
def test_nobody_comes(seen: Measured) -> None:
    assert grown(*[seen] * 9) == [2] * 9


def test_no_more_than_allowed_and_than_there_is_work_for() -> None:
    assert max(grown(*[WAITING] * 30, most=5)) == 5
    assert max(grown(*[WAITING] * 3, work=1)) == 3


def test_no_more_than_cores_can_be_kept_busy() -> None:
    """Each of two workers computes 40% of its time: four of them are 1.6 cores."""
    assert max(grown(*[measured(0.8, 0.8)] * 3)) == 4
    assert grown(*[measured(1.4, 1.4)] * 9) == [2] * 9


def play_waiting(fleet: Fleet, every: float = 0.1) -> float:
    """By the clock, with an idle machine that is measured every so many seconds."""
    clock, due = Clock(fleet), every
    fleet.start()
    clock.wake()
    while clock.agenda:
        clock.tick()
        if fleet.now >= due:
            due += every
            fleet.tell(replace(WAITING, at=fleet.now))
            clock.wake()
    fleet.check_end()
    return fleet.now


@pytest.mark.parametrize("mode", [*SLICED, Mode.LOADGROUP])
def test_a_suite_that_waits_is_over_soon(mode: Mode) -> None:
    fleet = Fleet([0.15] * 200, SchedulerSettings(2, mode, most_workers=16))
    assert play_waiting(fleet) < 3.0
    assert fleet.count(StartWorker) == 16


def test_without_it_nothing_is_started_whatever_is_measured() -> None:
    fleet = Fleet([0.15] * 40, SchedulerSettings(2))
    assert play_waiting(fleet) > 2.9
    assert fleet.count(StartWorker) == 2


def test_a_unit_stays_in_one_worker() -> None:
    settings = SchedulerSettings(2, Mode.LOADFILE, most_workers=16)
    fleet = Fleet([0.15] * 60, settings, units=[f"file{test // 20}" for test in range(60)])
    play_waiting(fleet)
    assert fleet.count(StartWorker) == 3


def test_a_copy_for_each_worker_is_all_there_is() -> None:
    settings = SchedulerSettings(2, Mode.EACH, most_workers=16)
    fleet = Fleet([0.15] * 20, settings, units=[f"each-{test // 10}" for test in range(20)])
    play_waiting(fleet)
    assert fleet.count(StartWorker) == 2


@settings(max_examples=300, deadline=None)
@given(
    durations=st.lists(st.sampled_from([0.0, 0.02, 0.2, 5.0]), max_size=24),
    mode=st.sampled_from(SLICED),
    seed=st.integers(0, 2**32),
    crash_rate=st.sampled_from([0.0, 0.02, 0.1]),
    stop_at=st.none() | st.integers(0, 200),
)
def test_nothing_is_lost_while_workers_come(
    durations: list[float], mode: Mode, seed: int, crash_rate: float, stop_at: int | None
) -> None:
    fleet = Fleet(durations, SchedulerSettings(2, mode, most_workers=8))
    fleet.measured = WAITING
    play_adversary(fleet, seed, Mischief(crash_rate, stop_at))
    assert fleet.stopping or not fleet.scheduler.unfinished
    assert all(entry.tests for entry in fleet.trace if isinstance(entry, Assign))
