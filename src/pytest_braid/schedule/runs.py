"""Undealt tests in an order that is worth keeping, in runs of which some are not to be cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from pytest_braid.schedule.outlook import Outlook

_LONG = 16
"""Tests and chains come first that take more than this part of a worker's share of the run."""


class Run(msgspec.Struct, eq=False):
    """Neighbours. Those with an ``instance`` go to one worker, which sets that up for them."""

    tests: deque[int]
    instance: int | None = None


def arrange(
    tests: Sequence[int],
    outlook: Outlook,
    workers: int,
    strands: int,
    *,
    keeps_order: bool,
) -> list[Run]:
    """Runs of ``tests``, which are in the order of the collection.

    Chains, and with known durations those tests that take longest come first: what is begun too
    late is what the run ends with. All others stay in their order, or module fixtures would be
    set up time and again.
    """
    if workers == 1 or keeps_order:
        return [Run(deque(tests))] if tests else []
    chains, rest = _chains(tests, outlook, workers, strands)
    if not outlook.is_known:
        return _in_order([*chains, *(Run(deque([test])) for test in rest)])
    limit = outlook.all_seconds(tests) / strands / (workers * _LONG)
    runs = [*chains, *(Run(deque([test])) for test in rest)]
    seconds = {id(run): _seconds(run, outlook) for run in runs}
    long = [run for run in runs if seconds[id(run)] > limit]
    short = [run for run in runs if seconds[id(run)] <= limit]
    long.sort(key=lambda run: (-seconds[id(run)], run.tests[0]))
    return [*long, *_in_order(short)]


def _chains(
    tests: Sequence[int], outlook: Outlook, workers: int, strands: int
) -> tuple[list[Run], list[int]]:
    """Those that are kept together, and the others."""
    bound = outlook.bound(tests, workers, strands)
    users: dict[int, list[int]] = {}
    pieces: dict[int, int] = {}
    for test in tests:
        if test in bound:
            instance, pieces[instance] = bound[test]
            users.setdefault(instance, []).append(test)
    chains = [
        Run(deque(part), instance)
        for instance, chain in users.items()
        for part in _parts(chain, pieces[instance], outlook)
    ]
    return chains, [test for test in tests if test not in bound]


def _parts(chain: Sequence[int], count: int, outlook: Outlook) -> Iterable[Sequence[int]]:
    cuts = [0, *cuts_of(chain, count, outlook), len(chain)]
    return [chain[start:end] for start, end in pairwise(cuts) if start < end]


def cuts_of(tests: Sequence[int], count: int, outlook: Outlook) -> list[int]:
    """Where to cut tests so that ``count`` parts take equally long."""
    total, cuts, done = outlook.all_seconds(tests), list[int](), 0.0
    for place, test in enumerate(tests):
        done += outlook.seconds(test)
        while len(cuts) < count - 1 and done > total * (len(cuts) + 1) / count * (1 + 1e-9):
            cuts.append(place)
    return cuts


def _seconds(run: Run, outlook: Outlook) -> float:
    setup = 0.0 if run.instance is None else outlook.cost(run.instance)
    return outlook.all_seconds(run.tests) + setup


def _in_order(runs: Iterable[Run]) -> list[Run]:
    """Neighbours that go anywhere make up one run."""
    merged: list[Run] = []
    for run in sorted(runs, key=lambda run: run.tests[0]):
        if merged and run.instance is None and merged[-1].instance is None:
            merged[-1].tests.extend(run.tests)
        else:
            merged.append(run)
    return merged
