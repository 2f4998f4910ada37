"""Whole runs in which workers are recycled and tests have processes of their own.

The fleet itself checks that no worker runs more than its share, that a test with a process of its
own is alone in it, that a slot has one live worker, that nobody retires with a test, before it has
torn everything down, or with nothing left to do for its successor.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braid.model.commands import Finish, Retire, Revoke, StartWorker
from pytest_braid.model.events import WorkerGone
from pytest_braid.model.tests import Mode, SchedulerSettings
from tests.schedule.fleet import SLICED, Fleet, Habits
from tests.schedule.plays import (
    LATENCY,
    STEP,
    Mischief,
    play_adversary,
    play_clock,
    play_with_fatal_tests,
    play_with_stop,
)
from tests.schedule.test_runs import crash_rates, seeds, thousands
from tests.schedule.test_unit_runs import durations, names

Row = tuple[float, str | None, bool]

all_modes = pytest.mark.parametrize("mode", Mode)
shares = st.none() | st.integers(1, 5)


def fleet_of(rows: list[Row], settings: SchedulerSettings, habits: Habits | None = None) -> Fleet:
    """A run of tests of which each row is the duration, the unit, and whether it runs alone."""
    return Fleet(
        [duration for duration, _, _ in rows],
        settings,
        habits,
        units=[unit for _, unit, _ in rows],
        alone={test for test, (_, _, is_alone) in enumerate(rows) if is_alone},
    )


def rows_of(chance: st.SearchStrategy[bool]) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(durations, names, chance), max_size=24)


fleets = st.builds(
    fleet_of,
    st.one_of([rows_of(st.just(False)), rows_of(st.booleans()), rows_of(st.just(True))]),
    settings=st.builds(
        SchedulerSettings,
        workers=st.integers(1, 6),
        mode=st.sampled_from(Mode),
        max_restarts=st.none() | st.integers(0, 4),
        reorder=st.booleans(),
        max_chunk=st.none() | st.integers(1, 3),
        is_cautious=st.booleans(),
        max_tests_per_worker=shares,
        keeps_order=st.booleans(),
        first=st.just(0) | st.integers(0, 24),
    ),
    habits=st.builds(Habits, *[st.booleans()] * 7),
)


def slots_left(fleet: Fleet) -> Counter[int]:
    """How often each slot was told to finish."""
    slots = (fleet.workers[e.worker].slot for e in fleet.trace if isinstance(e, Finish))
    return Counter(slots)


@thousands
@given(fleets, seeds)
def test_every_test_runs_exactly_once(fleet: Fleet, seed: int) -> None:
    play_adversary(fleet, seed, Mischief())
    assert sorted(test for _, test in fleet.order) == list(range(len(fleet.durations)))
    assert not fleet.gave_up
    # While the last to retire go, others may do the work of their successors.
    assert fleet.count(StartWorker) <= fleet.slots + fleet.count(WorkerGone)
    assert fleet.count(StartWorker) == fleet.count(Finish) + fleet.count(Retire)
    assert max(slots_left(fleet).values(), default=1) == 1


@thousands
@given(fleets, seeds, crash_rates)
def test_crashes_lose_no_test_unless_the_limit_is_reached(
    fleet: Fleet, seed: int, crash_rate: float
) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate))
    assert fleet.gave_up or not fleet.scheduler.unfinished
    limit = fleet.settings.max_restarts
    assert limit is None or fleet.restarts <= limit


@thousands
@given(fleets, seeds, st.just(0.0) | crash_rates, st.integers(0, 300))
def test_a_stop_ends_the_run_at_any_moment(
    fleet: Fleet, seed: int, crash_rate: float, step: int
) -> None:
    play_with_stop(fleet, seed, Mischief(crash_rate, stop_at=step))


@thousands
@given(fleets, seeds, st.just(0.0) | crash_rates, st.sets(st.integers(0, 23), min_size=1))
def test_a_worker_that_stops_ends_the_run(
    fleet: Fleet, seed: int, crash_rate: float, fatal: set[int]
) -> None:
    play_with_fatal_tests(fleet, seed, Mischief(crash_rate), fatal)


@settings(max_examples=500, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0.0, 10.0), names, st.booleans()), min_size=1, max_size=60),
    workers=st.integers(1, 8),
    mode=st.sampled_from([mode for mode in Mode if mode is not Mode.EACH]),
    share=shares,
)
def test_no_slot_idles_while_something_waits(
    rows: list[Row], workers: int, mode: Mode, share: int | None
) -> None:
    """Graham's bound, with a process for each test at worst."""
    fleet = fleet_of(rows, SchedulerSettings(workers, mode, max_tests_per_worker=share))
    overhead = 10 * LATENCY + 30 * STEP
    jobs: dict[object, float] = {}
    for test, (duration, _, _) in enumerate(rows):
        job = fleet.unit_of(test) or test
        jobs[job] = jobs.get(job, 0.0) + duration + overhead
    bound = sum(jobs.values()) / workers + max(jobs.values()) + 2 * overhead
    assert play_clock(fleet) <= bound


@all_modes
def test_workers_are_recycled_no_more_often_than_needed(mode: Mode) -> None:
    rows: list[Row] = [(0.001, f"m{test // 500}", False) for test in range(2000)]
    fleet = fleet_of(rows, SchedulerSettings(4, mode, max_tests_per_worker=100))
    play_clock(fleet)
    assert 20 <= fleet.count(StartWorker) <= 24
    assert slots_left(fleet) == dict.fromkeys(range(4), 1)


@pytest.mark.parametrize("mode", SLICED)
def test_every_test_in_a_process_of_its_own(mode: Mode) -> None:
    rows: list[Row] = [(0.01, None, True)] * 100
    fleet = fleet_of(rows, SchedulerSettings(4, mode))
    assert play_clock(fleet) < 0.01 * 25 + 0.01 * 25
    assert fleet.count(StartWorker) == 100
    assert fleet.count(Revoke) == 0
    assert slots_left(fleet) == dict.fromkeys(range(4), 1)
    assert [test for _, test in fleet.order] == list(range(100))
