from __future__ import annotations

import pytest

from bench.figures import COLLECT, Spread, lower_bound, others_load, round_bound, spread, summarise
from bench.measure import Usage


def usage(wall: float, cpu: float, others_cpu: float = 0) -> Usage:
    return Usage(wall=wall, cpu=cpu, others_cpu=others_cpu, peak_pss=None, exit_code=0)


def test_a_spread_is_median_and_quartiles() -> None:
    assert spread([5, 1, 4, 2, 3]) == Spread(median=3, low=2, high=4)


def test_a_spread_of_one_value_is_that_value() -> None:
    assert spread(iter([7.0])) == Spread(7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("longest", "plain_cpu", "expected"),
    [
        pytest.param(1.0, 10.5, 5.7, id="much-cpu"),
        pytest.param(8.0, 10.5, 8.7, id="one-long-test"),
    ],
)
def test_the_bound_is_a_collection_and_then_the_longest_test_or_all_cores(
    longest: float, plain_cpu: float, expected: float
) -> None:
    bound = lower_bound(longest_test=longest, plain_cpu=plain_cpu, collect=usage(0.7, 0.5), cores=2)
    assert bound == pytest.approx(expected)


def test_ratios_are_taken_within_a_round() -> None:
    # The second round ran on a machine half as fast: braid's share is the same in both.
    rounds = [
        {COLLECT: usage(1, 1), "plain": usage(5, 4), "braid": usage(2.5, 4.4)},
        {COLLECT: usage(2, 2), "braid": usage(5, 8.8), "plain": usage(10, 8)},
    ]
    figures = summarise(rounds, longest_test=0, cores=2)

    assert figures["braid"].wall_to_plain == Spread(0.5, 0.5, 0.5)
    assert figures["braid"].cpu_to_plain == pytest.approx(Spread(1.1, 1.1, 1.1))
    assert [round_bound(one, 0, 2) for one in rounds] == [2.5, 5]
    assert figures["braid"].wall_to_bound == Spread(1, 1, 1)
    assert figures["braid"].wall.median == 3.75


def test_the_load_of_others_is_in_cores() -> None:
    rounds = [{"plain": usage(4, 4, 1), "braid": usage(2, 4, 0)}, {"plain": usage(4, 4, 4)}]
    assert others_load(rounds) == 0.5


def test_collection_is_no_contender() -> None:
    rounds = [{COLLECT: usage(1, 1), "plain": usage(5, 4)}]
    assert list(summarise(rounds, longest_test=0, cores=1)) == ["plain"]
