"""Whether the project wants an order of its tests."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import takewhile

import pytest

from pytest_braid.seam.session import own_order

_ORDERING = frozenset({"pytest_order", "pytest_ordering"})
"""Packages of plugins whose marks say what comes first: it may be what pytest would do, too."""


def is_wanted(session: pytest.Session, found: Sequence[pytest.Item]) -> bool:
    """Whether somebody other than pytest has put the tests in order. ``found`` is them as they were
    collected, with those that were deselected since."""
    plugins = session.config.pluginmanager.get_plugins()
    if any(_package(plugin) in _ORDERING for plugin in plugins):
        return True
    there, known = {*map(id, session.items)}, {*map(id, found)}
    left = [item for item in found if id(item) in there]
    now = [item for item in session.items if id(item) in known]
    if now == left or now == own_order(session, left):  # in turn: the second takes long
        return False
    # Tests may have been deselected behind pytest's own reordering.
    return now != [item for item in own_order(session, found) if id(item) in there]


def count_first(session: pytest.Session, failed: Container[str]) -> int:
    """How many tests stand before all others because they have ``failed`` last time (``--ff``), or
    are new (``--nf``); none if all do."""
    config = session.config
    known: frozenset[str] = frozenset()
    if getattr(config.option, "newfirst", False) and config.cache is not None:
        known = frozenset(config.cache.get("cache/nodeids", []))
    elif not getattr(config.option, "failedfirst", False):
        return 0
    comes_first = (
        item.nodeid in failed or (known and item.nodeid not in known) for item in session.items
    )
    count = sum(1 for _ in takewhile(bool, comes_first))
    return 0 if count == len(session.items) else count


def _package(plugin: object) -> str:
    name: object = getattr(plugin, "__name__", "")
    return name.partition(".")[0] if isinstance(name, str) else ""
