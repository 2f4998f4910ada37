"""Whole runs against an adversary: what holds whatever crosses, crashes or stops.

The fleet itself checks each command: no test dealt twice, started twice or lost, no End without a
question or while others have tests to spare, no Finish while a test runs, no deadlock.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braid.model.commands import Finish, StartWorker
from pytest_braid.model.tests import SchedulerSettings
from tests.schedule.fleet import SLICED, Fleet, Habits
from tests.schedule.plays import (
    Mischief,
    play_adversary,
    play_with_fatal_tests,
    play_with_stop,
)

thousands = settings(max_examples=1000, deadline=None)
hundreds = settings(max_examples=250, deadline=None)
"""Of runs that take ten times as long."""

fleets = st.builds(
    Fleet,
    durations=st.lists(st.sampled_from([0.0, 0.0003, 0.02, 0.2, 5.0]), max_size=24),
    settings=st.builds(
        SchedulerSettings,
        workers=st.integers(1, 6),
        mode=st.sampled_from(SLICED),
        max_restarts=st.none() | st.integers(0, 4),
        keeps_order=st.booleans(),
        first=st.just(0) | st.integers(0, 24),
    ),
    habits=st.builds(Habits, *[st.booleans()] * 6),
)
seeds = st.integers(0, 2**32)
crash_rates = st.sampled_from([0.003, 0.02, 0.1, 0.5, 1.0])


@thousands
@given(fleets, seeds)
def test_every_test_runs_exactly_once(fleet: Fleet, seed: int) -> None:
    play_adversary(fleet, seed, Mischief())
    assert sorted(test for _, test in fleet.order) == list(range(len(fleet.durations)))
    assert not fleet.gave_up
    assert fleet.count(StartWorker) == fleet.count(Finish) == fleet.slots


@thousands
@given(fleets, seeds, crash_rates)
def test_crashes_lose_no_test_unless_the_limit_is_reached(
    fleet: Fleet, seed: int, crash_rate: float
) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate))
    limit = fleet.settings.max_restarts
    assert fleet.gave_up or not fleet.scheduler.unfinished
    assert limit is None or fleet.count(StartWorker) <= fleet.slots + limit


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
