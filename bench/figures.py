"""From measured rounds to figures. Pure.

A ratio is taken within a round and only then summarised over the rounds: median of ratios, not
ratio of medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.measure import Usage

COLLECT = "collect"
"""The key, in a round, of plain's ``--collect-only -q``."""

Round = Mapping[str, Usage]
"""What each contender, and ``collect``, cost in one round."""


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Median, first and third quartile of at least one value."""
    values = list(values)
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass(frozen=True, slots=True)
class Figures:
    """One contender over all rounds of a suite. Seconds, or ratios to the same round."""

    wall: Spread
    cpu: Spread
    wall_to_plain: Spread
    cpu_to_plain: Spread
    wall_to_bound: Spread


def lower_bound(*, longest_test: float, plain_cpu: float, collect: Usage, cores: int) -> float:
    """Seconds of wall time that no process-parallel run is expected to beat.

    One collection, then the longest test or all the CPU of the tests spread evenly over the
    cores, whichever takes longer. The wait of tests that sleep is not in it.
    """
    return max(longest_test, (plain_cpu - collect.cpu) / cores) + collect.wall


def round_bound(one_round: Round, longest_test: float, cores: int) -> float:
    """The lower bound by the plain run and the plain collection of a round."""
    return lower_bound(
        longest_test=longest_test,
        plain_cpu=one_round["plain"].cpu,
        collect=one_round[COLLECT],
        cores=cores,
    )


def others_load(rounds: Sequence[Round]) -> float:
    """Cores that all else on this machine kept busy during the runs.

    Plain and its control need one core and may not feel it; runs with workers do.
    """
    usages = [usage for one_round in rounds for usage in one_round.values()]
    return sum(usage.others_cpu for usage in usages) / sum(usage.wall for usage in usages)


def summarise(rounds: Sequence[Round], *, longest_test: float, cores: int) -> dict[str, Figures]:
    """Figures of every contender in ``rounds``, which must not be empty."""
    bounds = [round_bound(one_round, longest_test, cores) for one_round in rounds]
    names = [name for name in rounds[0] if name != COLLECT]
    return {name: _summarise_one(name, rounds, bounds) for name in names}


def _summarise_one(name: str, rounds: Sequence[Round], bounds: Sequence[float]) -> Figures:
    own = [one_round[name] for one_round in rounds]
    plain = [one_round["plain"] for one_round in rounds]
    return Figures(
        wall=spread(usage.wall for usage in own),
        cpu=spread(usage.cpu for usage in own),
        wall_to_plain=spread(a.wall / b.wall for a, b in zip(own, plain, strict=True)),
        cpu_to_plain=spread(a.cpu / b.cpu for a, b in zip(own, plain, strict=True)),
        wall_to_bound=spread(a.wall / bound for a, bound in zip(own, bounds, strict=True)),
    )
