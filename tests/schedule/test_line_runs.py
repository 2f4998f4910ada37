"""Whole runs of tests that must not run beside others, against an adversary.

The fleet itself checks every start against what runs: no resource in too many hands, nobody beside
who must be alone, no more at once than count; and every assignment against those that wait: nobody
is passed by a test that takes what it needs. A run that stands still is a deadlock.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.model.needs import PLAIN, Hold, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings
from tests.schedule.fleet import Fleet, Habits
from tests.schedule.plays import (
    Mischief,
    play_adversary,
    play_with_stop,
)
from tests.schedule.test_runs import crash_rates, hundreds, seeds
from tests.schedule.test_unit_runs import durations, names

RESOURCES = (("b", 2), ("c", 3))

holds = st.builds(
    lambda found: tuple(
        Hold(name, 1 if is_shared else min(slots, dict(RESOURCES).get(name, 1)), is_shared)
        for name, (slots, is_shared) in sorted(found.items())
    ),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(1, 3), st.booleans())),
)
some_needs = st.builds(
    Needs, holds, cpus=st.sampled_from([1, 1, 1, 2]), circle=st.sampled_from([None, None, "x", "y"])
)
Row = tuple[float, str | None, bool, Needs]


def fleet_of(
    rows: list[Row], settings: SchedulerSettings, habits: Habits | None = None, *, with_unit: bool
) -> Fleet:
    return Fleet(
        [row[0] for row in rows],
        settings,
        habits,
        units=[row[1] for row in rows],
        alone={test for test, row in enumerate(rows) if row[2]},
        with_unit=with_unit,
        needs=[row[3] for row in rows],
    )


def rows_of(
    needs: st.SearchStrategy[Needs], own: st.SearchStrategy[bool]
) -> st.SearchStrategy[list[Row]]:
    return st.lists(st.tuples(durations, names, own, needs), max_size=24)


def fleets_in(modes: tuple[Mode, ...]) -> st.SearchStrategy[Fleet]:
    never = st.just(False)
    return st.builds(
        fleet_of,
        st.one_of(
            rows_of(st.builds(Needs, holds), never),
            rows_of(st.just(PLAIN) | some_needs, never),
            rows_of(st.just(PLAIN) | some_needs, st.booleans()),
            rows_of(some_needs, st.just(True)),
        ),
        settings=st.builds(
            SchedulerSettings,
            workers=st.integers(2, 6),
            mode=st.sampled_from(modes),
            max_restarts=st.none() | st.integers(0, 4),
            is_cautious=st.booleans(),
            max_tests_per_worker=st.none() | st.integers(1, 5),
            resources=st.just(RESOURCES),
            tells_waits=st.booleans(),
        ),
        habits=st.builds(Habits, *[st.booleans()] * 7),
        with_unit=st.booleans(),
    )


fleets = fleets_in(tuple(Mode))


@hundreds
@given(fleets, seeds)
def test_every_test_runs_exactly_once(fleet: Fleet, seed: int) -> None:
    play_adversary(fleet, seed, Mischief())
    assert sorted(test for _, test in fleet.order) == list(range(len(fleet.durations)))
    assert not fleet.gave_up


@hundreds
@given(fleets, seeds, crash_rates)
def test_crashes_lose_no_test_unless_the_limit_is_reached(
    fleet: Fleet, seed: int, crash_rate: float
) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate))
    assert fleet.gave_up or not fleet.scheduler.unfinished


@hundreds
@given(fleets, seeds, st.just(0.0) | crash_rates, st.integers(0, 300))
def test_a_stop_ends_the_run_at_any_moment(
    fleet: Fleet, seed: int, crash_rate: float, step: int
) -> None:
    play_with_stop(fleet, seed, Mischief(crash_rate, stop_at=step))
