"""From what was to what is expected."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_braid.history.record import History
from pytest_braid.model.estimates import Estimates, Instance


def estimates(
    history: History, nodeids: Sequence[str], instances: Sequence[tuple[str, bool]]
) -> Estimates:
    """Of tests by their node ids, and of instances by their fixtures, and whether these have
    parameters."""
    known = history.tests
    durations = tuple(known[nodeid].duration if nodeid in known else None for nodeid in nodeids)
    if not any(durations):
        durations = ()
    return Estimates(
        durations,
        tuple(Instance(name, has, _setup(history, name)) for name, has in instances),
    )


def _setup(history: History, name: str) -> float | None:
    record = history.fixtures.get(name)
    return None if record is None else record.setup
