"""What there is to deal when a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.pool import Pool
from pytest_braid.schedule.units import UnitPool
from pytest_braid.schedule.worker import UNLIMITED


def lay_out(specs: Sequence[TestSpec], settings: SchedulerSettings) -> tuple[int, Pool | UnitPool]:
    """How many slots there are, and all tests undealt that do not run alone."""
    shared = [spec for spec in specs if not spec.own_process]
    if not settings.mode.by_unit:
        slots = min(settings.workers, len(specs))
        tests = [spec.index for spec in shared]
        return slots, Pool(tests, slots, settings.mode, settings.max_chunk)
    units = units_of(shared)
    limit = settings.max_tests_per_worker or UNLIMITED
    if settings.mode is Mode.EACH:
        slots = len(units_of(specs))
        return slots, UnitPool(units, slots, limit, pinned=True)
    slots = min(settings.workers, len(units) + len(specs) - len(shared))
    if settings.reorder:
        units.sort(key=len, reverse=True)
    return slots, UnitPool(units, slots, limit)


def units_of(specs: Iterable[TestSpec]) -> list[list[int]]:
    """The tests of each unit in the order of the collection, in the order of their first tests.

    A test without a unit is one of its own.
    """
    alone: list[list[int]] = []
    named: dict[str, list[int]] = {}
    for spec in specs:
        if spec.unit is None:
            alone.append([spec.index])
        else:
            named.setdefault(spec.unit, []).append(spec.index)
    return sorted([*alone, *named.values()])
