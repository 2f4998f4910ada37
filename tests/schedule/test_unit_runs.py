"""Whole runs in the modes of units, against an adversary and against a clock.

The fleet itself checks each command and each test: no unit in two live workers, none out of its
order, no End while a unit that has not begun could be had.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braid.model.commands import Assign, Finish, Revoke, StartWorker
from pytest_braid.model.events import WorkerDied
from pytest_braid.model.tests import Mode, SchedulerSettings
from tests.schedule.fleet import Fleet, Habits
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

BY_UNIT = [mode for mode in Mode if mode.by_unit]

grouped_modes = pytest.mark.parametrize("mode", [Mode.LOADSCOPE, Mode.LOADFILE, Mode.LOADGROUP])

names = st.none() | st.sampled_from("abcdefgh")
durations = st.sampled_from([0.0, 0.0003, 0.02, 0.2, 5.0])


def fleet_of(
    rows: Sequence[tuple[float, str | None]],
    settings: SchedulerSettings,
    habits: Habits | None = None,
) -> Fleet:
    """A run of tests of which each row is the duration and the unit."""
    return Fleet(
        [duration for duration, _ in rows], settings, habits, units=[unit for _, unit in rows]
    )


fleets = st.builds(
    fleet_of,
    st.lists(st.tuples(durations, names), max_size=24),
    settings=st.builds(
        SchedulerSettings,
        workers=st.integers(1, 6),
        mode=st.sampled_from(BY_UNIT),
        max_restarts=st.none() | st.integers(0, 4),
        reorder=st.booleans(),
    ),
    habits=st.builds(Habits, *[st.booleans()] * 6),
)


@thousands
@given(fleets, seeds)
def test_every_test_runs_exactly_once(fleet: Fleet, seed: int) -> None:
    play_adversary(fleet, seed, Mischief())
    assert sorted(test for _, test in fleet.order) == list(range(len(fleet.durations)))
    assert fleet.count(StartWorker) == fleet.count(Finish) == fleet.slots


@thousands
@given(fleets, seeds, crash_rates)
def test_crashes_lose_no_test_unless_the_limit_is_reached(
    fleet: Fleet, seed: int, crash_rate: float
) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate))
    assert fleet.gave_up or not fleet.scheduler.unfinished


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


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0.0, 10.0), names), min_size=1, max_size=60),
    workers=st.integers(1, 8),
    mode=st.sampled_from([Mode.LOADSCOPE, Mode.LOADFILE, Mode.LOADGROUP]),
    reorder=st.booleans(),
)
def test_no_worker_idles_while_a_unit_waits(
    rows: list[tuple[float, str | None]], workers: int, mode: Mode, reorder: bool
) -> None:
    """Graham's bound again, with the units as jobs."""
    fleet = fleet_of(rows, SchedulerSettings(workers, mode, reorder=reorder))
    overhead = 4 * LATENCY + 8 * STEP
    jobs: dict[object, float] = {}
    for index, (duration, unit) in enumerate(rows):
        jobs[unit or index] = jobs.get(unit or index, 0.0) + duration + overhead
    assert play_clock(fleet) <= sum(jobs.values()) / workers + max(jobs.values()) + overhead


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.integers(1, 12),
    workers=st.integers(1, 6),
    seed=seeds,
    crash_rate=st.just(0.0) | crash_rates,
)
def test_each_worker_has_its_copy_of_the_collection(
    sizes: int, workers: int, seed: int, crash_rate: float
) -> None:
    rows = [(0.01, f"each-{worker}") for worker in range(workers) for _ in range(sizes)]
    fleet = fleet_of(rows, SchedulerSettings(workers, Mode.EACH))
    play_adversary(fleet, seed, Mischief(crash_rate))
    assert not fleet.scheduler.unfinished or fleet.gave_up
    if not fleet.count(WorkerDied):
        assert all(worker == test // sizes for worker, test in fleet.order)
    deaths: dict[int, int] = {}  # nobody takes over but a successor
    for worker, test in fleet.order:
        assert deaths.setdefault(worker, test // sizes) == test // sizes


@grouped_modes
def test_trivial_tests_of_small_units_come_in_long_queues_almost_without_questions(
    mode: Mode,
) -> None:
    fleet = fleet_of([(0.0003, f"m{n // 10}") for n in range(5000)], SchedulerSettings(4, mode))
    play_clock(fleet)
    assert fleet.questions < 40
    assert fleet.count(Assign) < 300
    assert 100 < fleet.most_queued <= 256


@grouped_modes
def test_units_behind_a_long_test_are_taken_by_others(mode: Mode) -> None:
    rows = [(3.0 if n == 600 else 0.001, f"m{n // 5}") for n in range(1200)]
    fleet = fleet_of(rows, SchedulerSettings(2, mode))
    assert play_clock(fleet) < 3.8
    assert fleet.count(Revoke) > 0


@grouped_modes
def test_no_unit_is_bound_behind_a_slow_one(mode: Mode) -> None:
    rows = [(0.1, f"m{n // 4}") for n in range(80)]
    fleet = fleet_of(rows, SchedulerSettings(3, mode))
    play_clock(fleet)
    assert fleet.count(Revoke) == 0
    for entry in fleet.trace:
        if isinstance(entry, Assign):
            assert len({test // 4 for test in entry.tests}) == 1


@grouped_modes
def test_one_worker_begins_units_by_size_and_keeps_their_order(mode: Mode) -> None:
    units = "abbcbdcbdde"
    rows = [(0.0, unit) for unit in units]
    fleet = fleet_of(rows, SchedulerSettings(1, mode))
    play_clock(fleet)
    assert "".join(units[test] for _, test in fleet.order) == "bbbbdddccae"
    fleet = fleet_of(rows, SchedulerSettings(1, mode, reorder=False))
    play_clock(fleet)
    assert "".join(units[test] for _, test in fleet.order) == "abbbbccddde"
