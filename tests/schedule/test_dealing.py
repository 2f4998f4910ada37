"""Whole runs against a clock: who waits, who asks, and how long it takes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braid.model.commands import Assign, Revoke
from pytest_braid.model.tests import Mode, SchedulerSettings
from tests.schedule.fleet import SLICED, Fleet
from tests.schedule.plays import play_clock

OVERHEAD = 0.0005
"""Seconds for the steps and the messages of one test, generously."""

both_modes = pytest.mark.parametrize("mode", SLICED)


def fleet_of(durations: list[float], workers: int, mode: Mode) -> Fleet:
    return Fleet(durations, SchedulerSettings(workers, mode))


def jumps(fleet: Fleet) -> int:
    """How often a worker did not go on with the neighbour of its test."""
    orders = [[test for by, test in fleet.order if by == worker] for worker in fleet.workers]
    return sum(test + 1 != after for order in orders for test, after in pairwise(order))


@both_modes
def test_trivial_tests_come_in_long_queues_and_almost_without_questions(mode: Mode) -> None:
    fleet = fleet_of([0.0003] * 5000, 4, mode)
    play_clock(fleet)
    assert fleet.questions < 20
    assert fleet.count(Assign) < 300
    assert 100 < fleet.most_queued <= 256


@both_modes
def test_a_slow_first_test_does_not_keep_queues_short(mode: Mode) -> None:
    fleet = fleet_of([0.5] + [0.0003] * 5000, 4, mode)
    play_clock(fleet)
    assert fleet.questions < 60
    assert fleet.most_queued > 100


@both_modes
def test_long_tests_are_queued_one_at_a_time(mode: Mode) -> None:
    fleet = fleet_of([0.1] * 200, 4, mode)
    play_clock(fleet)
    assert fleet.most_queued == 2  # before any duration was known
    queues = [len(entry.tests) for entry in fleet.trace if isinstance(entry, Assign)]
    assert set(queues[8:]) == {1}


@given(
    durations=st.lists(st.sampled_from([0.0003, 0.02, 0.2, 5.0]), min_size=1, max_size=40),
    first=st.integers(1, 40),
    workers=st.integers(1, 5),
    mode=st.sampled_from(SLICED),
)
def test_what_comes_first_is_dealt_one_by_one_to_who_can_begin_it(
    durations: list[float], first: int, workers: int, mode: Mode
) -> None:
    first = min(first, len(durations))
    wanted = SchedulerSettings(workers, mode, keeps_order=True, first=first)
    fleet = Fleet(durations, wanted)
    play_clock(fleet)
    dealt = [entry.tests for entry in fleet.trace if isinstance(entry, Assign)]
    assert dealt[:first] == [(test,) for test in range(first)]


@both_modes
def test_what_comes_first_spreads_over_all_workers_and_nobody_waits_for_it(mode: Mode) -> None:
    fleet = Fleet(
        [5.0, *[0.1] * 10, *[0.001] * 400], SchedulerSettings(3, mode, keeps_order=True, first=11)
    )
    play_clock(fleet)
    begun = [test for _, test in fleet.order]
    assert begun[:11] == [*range(11)]
    assert {worker for worker, _ in fleet.order[:3]} == {0, 1, 2}
    assert fleet.now < 5.1


@both_modes
def test_what_lies_behind_a_long_test_is_taken_by_others(mode: Mode) -> None:
    fleet = fleet_of([0.001] * 600 + [3.0] + [0.001] * 599, 2, mode)
    assert play_clock(fleet) < 3.8
    assert fleet.count(Revoke) > 0


@settings(max_examples=300, deadline=None)
@given(
    durations=st.lists(st.floats(0.0, 10.0), min_size=1, max_size=60),
    workers=st.integers(1, 8),
    mode=st.sampled_from(SLICED),
)
def test_no_worker_idles_while_a_test_waits(
    durations: list[float], workers: int, mode: Mode
) -> None:
    """Graham's bound, which any schedule keeps that never lets a worker idle without need."""
    fleet = fleet_of(durations, workers, mode)
    work = sum(durations) + OVERHEAD * len(durations)
    assert play_clock(fleet) <= work / workers + max(durations) + 2 * OVERHEAD


@both_modes
def test_one_worker_keeps_the_order_of_the_collection(mode: Mode) -> None:
    fleet = fleet_of([0.0, 0.2, 0.001] * 30, 1, mode)
    play_clock(fleet)
    assert [test for _, test in fleet.order] == list(range(90))


def test_worksteal_jumps_only_where_it_steals() -> None:
    fleet = fleet_of([0.001] * 2000 + [0.01] * 2000, 4, Mode.WORKSTEAL)
    play_clock(fleet)
    assert jumps(fleet) < 40


def test_load_stays_close_to_the_order_of_the_collection() -> None:
    fleet = fleet_of([0.01] * 2000, 4, Mode.LOAD)
    play_clock(fleet)
    assert jumps(fleet) < 200
    lag = max(abs(place - test) for place, (_, test) in enumerate(fleet.order))
    assert lag < 500  # the first chunks are a sixteenth of the collection each
