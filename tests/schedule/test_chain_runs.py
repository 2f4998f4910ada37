"""Whole runs of tests that share fixtures: nothing is lost, whatever is kept together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_braid.model.estimates import Estimates, Instance
from pytest_braid.model.needs import Hold, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings
from tests.schedule.fleet import SLICED, Fleet, Habits
from tests.schedule.plays import Mischief, play_adversary, play_clock

hundreds = settings(max_examples=300, deadline=None)

COSTS = (0.0, 0.02, 0.2, 3.0)

durations = st.sampled_from([0.0, 0.0003, 0.02, 0.2, 5.0])
instances = st.sets(st.integers(0, len(COSTS) - 1), max_size=3).map(lambda s: tuple(sorted(s)))
expected = st.builds(
    Estimates,
    st.just(()) | st.lists(st.none() | durations, min_size=24, max_size=24).map(tuple),
    st.tuples(
        *(
            st.builds(Instance, st.just(str(n)), st.booleans(), st.none() | st.sampled_from(COSTS))
            for n in range(len(COSTS))
        )
    ),
)
kinds = st.sampled_from(
    [Needs(), Needs(), Needs((Hold("db"),)), Needs(circle="alone"), Needs(cpus=2)]
)


def fleets(
    *, needy: bool = False, limits: st.SearchStrategy[int | None]
) -> st.SearchStrategy[Fleet]:
    return st.builds(
        Fleet,
        durations=st.lists(durations, max_size=24),
        settings=st.builds(
            SchedulerSettings,
            workers=st.integers(2 if needy else 1, 6),
            mode=st.sampled_from(SLICED),
            max_tests_per_worker=limits,
            keeps_order=st.booleans(),
            first=st.just(0) | st.integers(0, 24),
        ),
        habits=st.builds(Habits, *[st.booleans()] * 7),
        alone=st.sets(st.integers(0, 23), max_size=3) if needy else st.just(set()),
        needs=st.lists(kinds, max_size=24) if needy else st.just([]),
        fixtures=st.lists(instances, min_size=24, max_size=24),
        costs=st.just(COSTS),
        estimates=expected,
    )


seeds = st.integers(0, 2**32)
plain, needy = fleets(limits=st.none()), fleets(needy=True, limits=st.none() | st.integers(1, 4))


@hundreds
@given(plain | needy, seeds)
def test_every_test_runs_exactly_once(fleet: Fleet, seed: int) -> None:
    play_adversary(fleet, seed, Mischief())
    assert sorted(test for _, test in fleet.order) == list(range(len(fleet.durations)))


@hundreds
@given(plain | needy, seeds, st.sampled_from([0.003, 0.02, 0.1, 0.5]))
def test_crashes_lose_no_test(fleet: Fleet, seed: int, crash_rate: float) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate))
    assert fleet.gave_up or not fleet.scheduler.unfinished


@hundreds
@given(plain | needy, seeds, st.sampled_from([0.0, 0.02]), st.integers(0, 300))
def test_a_stop_ends_the_run(fleet: Fleet, seed: int, crash_rate: float, step: int) -> None:
    play_adversary(fleet, seed, Mischief(crash_rate, stop_at=step))


@hundreds
@given(plain)
def test_no_run_takes_much_longer_than_its_longest_chain(fleet: Fleet) -> None:
    """Whatever is expected, and however wrong that is: a worker idles only beside a chain."""
    setups = sum(fleet.costs[one] for used in fleet.fixtures for one in used)
    work = sum(fleet.durations)
    assert play_clock(fleet) <= work + setups + 1.0


# What it is for.


def parameters(count: int, tests: int, cost: float, duration: float, *, is_known: bool) -> Fleet:
    """A fixture with so many parameters, and so many tests of each."""
    made = Estimates(
        (duration,) * (count * tests) if is_known else (),
        tuple(Instance(str(n), True, cost if is_known else None) for n in range(count)),
    )
    return Fleet(
        [duration] * (count * tests),
        SchedulerSettings(2),
        fixtures=[(test // tests,) for test in range(count * tests)],
        costs=[cost] * count,
        estimates=made,
    )


@pytest.mark.parametrize("is_known", [False, True])
def test_each_parameter_of_a_dear_fixture_is_set_up_once(is_known: bool) -> None:
    fleet = parameters(10, 20, 0.2, 0.001, is_known=is_known)
    assert play_clock(fleet) < 1.2  # five setups and a hundred tests in each worker are 1.1
    assert set(fleet.setups.values()) == {1}


@pytest.mark.parametrize("is_known", [False, True])
def test_a_cheap_fixture_binds_nobody(is_known: bool) -> None:
    fleet = parameters(1, 200, 0.001, 0.05, is_known=is_known)
    assert play_clock(fleet) < 5.2


def test_a_chain_is_cut_where_a_second_setup_is_worth_it() -> None:
    fleet = parameters(1, 100, 0.5, 0.1, is_known=False)
    assert play_clock(fleet) < 5.9
    assert fleet.setups == {0: 2}


def test_a_chain_is_not_cut_where_a_second_setup_takes_longer_than_the_rest() -> None:
    fleet = Fleet(
        [0.1] * 80,
        SchedulerSettings(2),
        fixtures=[(0,)] * 20,
        costs=[3.0],
        estimates=Estimates((), (Instance("0", True, 3.0),)),
    )
    assert play_clock(fleet) < 6.2
    assert fleet.setups == {0: 1}


def test_a_fixture_without_parameters_that_turns_out_to_be_dear_is_not_set_up_twice() -> None:
    """Three modules, of which each has a fixture of a second."""
    fleet = Fleet(
        [0.01] * 60,
        SchedulerSettings(3),
        fixtures=[(test // 20,) for test in range(60)],
        costs=[1.0] * 3,
        estimates=Estimates((), tuple(Instance(str(n)) for n in range(3))),
    )
    assert play_clock(fleet) < 1.3
    assert fleet.setups == {0: 1, 1: 1, 2: 1}


def test_a_dear_fixture_in_the_middle_is_set_up_as_often_as_pays() -> None:
    fixtures = [(0,) if 100 <= test < 200 else () for test in range(400)]
    fleet = Fleet(
        [0.01] * 400,
        SchedulerSettings(4),
        fixtures=fixtures,
        costs=[1.0],
        estimates=Estimates((0.01,) * 400, (Instance("0", setup=1.0),)),
    )
    assert play_clock(fleet) < 1.75
    assert fleet.setups == {0: 2}


def test_the_longest_test_is_begun_first() -> None:
    lengths = [0.1] * 120 + [6.0]
    known = Fleet(lengths, SchedulerSettings(2), estimates=Estimates(tuple(lengths)))
    assert play_clock(known) < 9.15
    assert next(test for by, test in known.order) == 120
    unknown = Fleet(lengths, SchedulerSettings(2))
    assert play_clock(unknown) > 11.5


def test_users_of_a_dear_session_fixture_are_one_chain() -> None:
    """One test in ten, all over the collection, needs what takes two seconds to set up."""
    fixtures = [(0,) if test % 10 == 0 else () for test in range(200)]
    fleet = Fleet(
        [0.05] * 200,
        SchedulerSettings(2),
        fixtures=fixtures,
        costs=[2.0],
        estimates=Estimates((0.05,) * 200, (Instance("0", setup=2.0),)),
    )
    assert play_clock(fleet) < 6.3
    assert fleet.setups == {0: 1}


def test_short_tests_that_are_known_come_in_long_queues_and_long_ones_alone() -> None:
    lengths = [1.0, *[0.0005] * 400, 1.0]
    fleet = Fleet(lengths, SchedulerSettings(2), estimates=Estimates(tuple(lengths)))
    play_clock(fleet)
    assert fleet.most_queued > 50
    assert [test for _, test in fleet.order][:2] == [0, 401]


def test_an_order_that_the_user_wants_is_kept() -> None:
    lengths = [0.1] * 10 + [6.0]
    wanted = SchedulerSettings(2, keeps_order=True)
    fleet = Fleet(lengths, wanted, estimates=Estimates(tuple(lengths)))
    play_clock(fleet)
    assert fleet.order[0][1] == 0
    assert 10 not in [test for _, test in fleet.order][:4]


def test_one_worker_keeps_the_order_of_the_collection() -> None:
    lengths = [0.1] * 10 + [6.0]
    fleet = Fleet(lengths, SchedulerSettings(1), estimates=Estimates(tuple(lengths)))
    play_clock(fleet)
    assert [test for _, test in fleet.order] == list(range(11))


@pytest.mark.parametrize("mode", [Mode.LOADFILE, Mode.LOADGROUP])
def test_the_longest_unit_is_begun_first(mode: Mode) -> None:
    lengths = [0.1] * 10 + [3.0]
    fleet = Fleet(
        lengths,
        SchedulerSettings(2, mode),
        units=["many"] * 10 + ["long"],
        estimates=Estimates(tuple(lengths)),
    )
    play_clock(fleet)
    assert fleet.order[0][1] == 10


def test_even_slices_are_even_in_time_and_cut_no_chain() -> None:
    fleet = Fleet(
        [0.1] * 10,
        SchedulerSettings(2, Mode.WORKSTEAL),
        fixtures=[(), (), (), (), (0,), (0,), (0,), (0,), (), ()],
        costs=[1.0],
        estimates=Estimates((0.1,) * 10, (Instance("0", setup=1.0),)),
    )
    play_clock(fleet)
    assert fleet.setups == {0: 1}
