"""What tests ask for, and what there is of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pytest_braid.model.needs import PLAIN, Needs
from pytest_braid.wire import messages as m


def fitted(
    tests: Sequence[m.Test], limits: Mapping[str, int], workers: int
) -> tuple[list[m.Test], list[str]]:
    """The tests, of which none asks for more than there is; and a line for each thing that was
    asked too much of: all of it is what such a test gets."""
    excess: dict[str, list[str]] = {}
    found = [
        test if test.needs == PLAIN else replace(test, needs=_fitted(test, limits, workers, excess))
        for test in tests
    ]
    return found, [f"braid: {what}: {_listed(nodeids)}" for what, nodeids in excess.items()]


def _fitted(
    test: m.Test, limits: Mapping[str, int], workers: int, excess: dict[str, list[str]]
) -> Needs:
    holds = []
    for hold in test.needs.holds:
        limit = limits.get(hold.name, 1)
        if hold.slots > limit:
            what = (
                f"resource_lock({hold.name!r}, slots={hold.slots}) is more than the {limit} that "
                f"there are and counts as all (the ini option braid_resources = {hold.name}:N says "
                "how many)"
            )
            excess.setdefault(what, []).append(test.nodeid)
        holds.append(replace(hold, slots=min(hold.slots, limit)))
    if test.needs.cpus > workers:
        what = (
            f"cpus({test.needs.cpus}) is more than the {workers} tests that may run at once and "
            "counts as all of them"
        )
        excess.setdefault(what, []).append(test.nodeid)
    return Needs(tuple(holds), min(test.needs.cpus, workers), test.needs.circle)


def _listed(nodeids: Sequence[str]) -> str:
    more = f" and {len(nodeids) - 1} more" if len(nodeids) > 1 else ""
    return nodeids[0] + more
