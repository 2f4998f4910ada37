"""What there is to deal when a run begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_braid.model.needs import PLAIN, Hold, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.held import Held, Waiting
from pytest_braid.schedule.ledger import Ledger
from pytest_braid.schedule.line import Line, Unit
from pytest_braid.schedule.outlook import Outlook
from pytest_braid.schedule.pool import Pool
from pytest_braid.schedule.units import UnitPool
from pytest_braid.schedule.worker import UNLIMITED


def slots_for(specs: Sequence[TestSpec], settings: SchedulerSettings) -> int:
    """How many workers there are at a time at most: never more than units."""
    if settings.mode is Mode.EACH:
        return len({spec.index if spec.unit is None else spec.unit for spec in specs})
    return min(settings.workers, len(_units(specs, settings.mode)))


def lay_out(
    specs: Sequence[TestSpec],
    settings: SchedulerSettings,
    ledger: Ledger,
    outlook: Outlook,
    held: Held,
) -> tuple[Line, Pool | UnitPool, Waiting]:
    """All tests undealt: those in line for something, the others, and those that come to the others
    when what they share is settled. In mode ``each`` a copy is not held back as a whole."""
    slots, limit = slots_for(specs, settings), settings.max_tests_per_worker or UNLIMITED
    is_each = settings.mode is Mode.EACH
    units = _units(specs, settings.mode)
    in_line: list[Sequence[TestSpec]] = [unit for unit in units if _stands_in_line(unit)]
    rest = [[spec.index for spec in unit] for unit in units if not _stands_in_line(unit)]
    if settings.reorder and not is_each:
        if outlook.is_known and not settings.keeps_order:
            in_line = _longest_queue_first(in_line, outlook)
            rest.sort(key=outlook.all_seconds, reverse=True)
        else:
            in_line.sort(key=len, reverse=True)
            rest.sort(key=len, reverse=True)
        in_line.sort(key=lambda unit: unit[0].index >= settings.first)
        rest.sort(key=lambda unit: unit[0] >= settings.first)
    needs = {spec.index: spec.needs for spec in specs if spec.needs != PLAIN}
    line = Line(map(_unit, _by_circle(in_line)), needs, ledger, limit, pinned=is_each, held=held)
    if is_each:
        return line, UnitPool(rest, slots, limit, pinned=True, held=held), Waiting(held)
    later = [unit for unit in rest if held.holds(unit)]
    now = [unit for unit in rest if not held.holds(unit)]
    waiting = Waiting(held, later)
    if settings.mode.by_unit:
        return line, UnitPool(now, slots, limit, later=later), waiting
    tests = [test for unit in now for test in unit]
    pool = Pool(
        sorted(tests),
        slots,
        settings.mode,
        settings.max_chunk,
        outlook,
        strands=settings.strands,
        keeps_order=settings.keeps_order,
        first=settings.first,
        binds=settings.max_tests_per_worker is None,
    )
    return line, pool, waiting


def _units(specs: Iterable[TestSpec], mode: Mode) -> list[list[TestSpec]]:
    """What stays together, in the order of the first tests."""
    alone: list[list[TestSpec]] = []
    named: dict[tuple[str, bool], list[TestSpec]] = {}
    for spec in specs:
        is_named = spec.with_unit if spec.own_process else mode.by_unit
        if spec.unit is None or not is_named:
            alone.append([spec])
        else:
            named.setdefault((spec.unit, spec.own_process), []).append(spec)
    return sorted([*alone, *named.values()], key=lambda unit: unit[0].index)


def _stands_in_line(unit: Sequence[TestSpec]) -> bool:
    return any(spec.own_process or spec.needs != PLAIN for spec in unit)


def _longest_queue_first(
    units: Sequence[Sequence[TestSpec]], outlook: Outlook
) -> list[Sequence[TestSpec]]:
    """Those who need the same run one after another: first those who take longest together."""
    queues: dict[Needs, float] = {}
    for unit in units:
        seconds = outlook.all_seconds(spec.index for spec in unit)
        queues[unit[0].needs] = queues.get(unit[0].needs, 0.0) + seconds
    return sorted(units, key=lambda unit: -queues[unit[0].needs])


def _by_circle(units: Sequence[Sequence[TestSpec]]) -> list[Sequence[TestSpec]]:
    """Who must be alone comes first, while nobody else runs yet, and each circle in one piece."""
    circles: dict[str | None, list[Sequence[TestSpec]]] = {}
    for unit in units:
        circles.setdefault(unit[0].needs.circle, []).append(unit)
    others = circles.pop(None, [])
    return [unit for circle in [*circles.values(), others] for unit in circle]


def _unit(specs: Sequence[TestSpec]) -> Unit:
    return Unit(
        [spec.index for spec in reversed(specs)],
        all_needs=_all_needs([spec.needs for spec in specs]),
        own_process=specs[0].own_process,
    )


def _all_needs(needs: Sequence[Needs]) -> Needs:
    """What begins with the first of these, and needs the rest later."""
    if len(needs) == 1:
        return needs[0]
    holds: dict[str, Hold] = {}
    for hold in (hold for each in needs for hold in each.holds):
        is_shared = hold.is_shared and holds.get(hold.name, hold).is_shared
        holds[hold.name] = Hold(hold.name, is_shared=is_shared)
    return Needs(tuple(holds.values()), needs[0].cpus, needs[0].circle)
