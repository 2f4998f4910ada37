"""Which fixtures tests share with each other: what may make it worth to keep them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_braid.seam import fixtures as seam
from pytest_braid.seam.closures import definitions
from pytest_braid.worker.usage import fixture_name


class Shared:
    """The instances that several of ``items`` use, numbered in the order of the collection."""

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._numbers: dict[tuple[Any, Any, int | None], int] = {}
        self._all: list[tuple[str, bool]] = []
        found = [[*self._of(item)] for item in items]
        users = Counter(number for numbers in found for number in numbers)
        order = [number for number in range(len(self._all)) if users[number] > 1]
        new = {number: place for place, number in enumerate(order)}
        self.instances = tuple(self._all[number] for number in order)
        """Of each the fixture, and whether it has parameters."""
        self.of_tests = [tuple(new[each] for each in numbers if each in new) for numbers in found]
        """Those of each test."""

    def _of(self, item: pytest.Item) -> set[int]:
        numbers: set[int] = set()
        for definition in definitions(item):
            if definition.scope == "function":
                continue
            node = seam.scope_node(definition, item)
            if node is not item:
                numbers.add(self._number(definition, node, _parameter(definition, item)))
        return numbers

    def _number(self, definition: Any, node: Any, index: int | None) -> int:
        key = definition, node, index
        if key not in self._numbers:
            self._numbers[key] = len(self._all)
            self._all.append((fixture_name(definition, index), index is not None))
        return self._numbers[key]


def _parameter(definition: Any, item: pytest.Item) -> int | None:
    """Which of its parameters this test has, if it has any."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.indices.get(definition.argname)
