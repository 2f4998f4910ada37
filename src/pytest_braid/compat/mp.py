"""What suites written for pytest-mp find here."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

STRATEGIES = ("free", "serial", "isolated_free", "isolated_serial")


def tell_groups(items: Iterable[pytest.Item], *, is_mp: bool) -> None:
    """Give each test a mark ``mp_group_info`` that says its group and strategy.

    Raises:
        pytest.UsageError: marks ``mp_group`` that contradict each other, in the words of pytest-mp;
            with ``--mp`` also a strategy that does not exist.
    """
    strategies: dict[str, str] = {}
    for item in items:
        group, strategy = _group(item)
        known = strategies.setdefault(group, strategy or "free")
        if strategy is not None and strategy != known:
            raise pytest.UsageError(
                f"{group} already has specified strategy {known}. A test of the group came first "
                f"that says so, or says none; {item.nodeid} says {strategy!r}."
            )
        if is_mp and known not in STRATEGIES:
            raise pytest.UsageError(
                f"Unknown strategy {known} (of mp_group {group!r}, {item.nodeid}): give one of "
                + ", ".join(STRATEGIES)
            )
        item.add_marker(pytest.mark.mp_group_info(group=group, strategy=known))


def _group(item: pytest.Item) -> tuple[str, str | None]:
    """The group, and the strategy if the test's mark names one."""
    marks = list(item.iter_markers("mp_group"))
    if not marks:
        return "ungrouped", "free"
    if len(marks) > 1:
        raise pytest.UsageError(
            f"Detected too many mp_group values for {item.name}: {item.nodeid} has "
            f"{len(marks)} of these marks, its class's and module's included. One test is in one "
            "group."
        )
    args, kwargs = marks[0].args, marks[0].kwargs
    group = args[0] if args else kwargs.get("group")
    strategy = args[1] if len(args) > 1 else kwargs.get("strategy")
    if not isinstance(group, str):
        raise pytest.UsageError(
            f"{item.nodeid}: its mark mp_group names no group: write @pytest.mark.mp_group('name')"
        )
    return group, strategy
