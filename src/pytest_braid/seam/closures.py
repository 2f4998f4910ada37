"""Which fixture definitions an item will use, as far as pytest knows when it has collected it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


def probe_closures(item: pytest.Item) -> str | None:
    """Why the fixtures of an item cannot be seen, if so."""
    known: Any = getattr(item, "_fixtureinfo", None)
    if known is None or isinstance(getattr(known, "name2fixturedefs", None), dict):
        return None
    return (
        "pytest keeps the fixtures of a test otherwise than braid knows it "
        f"(FuncFixtureInfo.name2fixturedefs, pytest {pytest.__version__})"
    )


def definitions(item: pytest.Item) -> Iterator[pytest.FixtureDef[Any]]:
    """Every definition in the item's closure, autouse ones included, and those that they override
    only if they ask for them."""
    known: Any = getattr(item, "_fixtureinfo", None)
    if known is None:
        return
    for name, candidates in known.name2fixturedefs.items():
        for definition in reversed(candidates):
            yield definition
            if name not in definition.argnames:
                break
