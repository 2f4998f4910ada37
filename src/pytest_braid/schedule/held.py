"""Tests that cannot begin before a fixture is there that the whole run shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_braid.model.tests import TestSpec


class Held:
    """Which shares each test waits for, as long as they are not settled."""

    def __init__(self, specs: Iterable[TestSpec]) -> None:
        """At first none is."""
        self._of = {spec.index: {*spec.shares} for spec in specs if spec.shares}

    def __contains__(self, test: object) -> bool:
        return test in self._of

    def holds(self, tests: Iterable[int]) -> bool:
        """Whether one of these has to wait."""
        return bool(self._of) and any(test in self._of for test in tests)

    def shares(self, tests: Iterable[int]) -> frozenset[int]:
        """What any of these waits for."""
        if not self._of:
            return frozenset()
        return frozenset(share for test in tests for share in self._of.get(test, ()))

    def settle(self, share: int) -> None:
        """Nobody waits for this one any more."""
        for test, shares in list(self._of.items()):
            shares.discard(share)
            if not shares:
                del self._of[test]


class Waiting:
    """Units (lists of tests) that lie outside of the pool until all of their tests may begin."""

    def __init__(self, held: Held, units: Iterable[Sequence[int]] = ()) -> None:
        """Begin with these, in their order."""
        self._held = held
        self._units = [*units]

    def __len__(self) -> int:
        """Count the units."""
        return len(self._units)

    def take(self) -> list[Sequence[int]]:
        """Those that need not wait any more; they are here no longer."""
        free = [unit for unit in self._units if not self._held.holds(unit)]
        self._units = [unit for unit in self._units if self._held.holds(unit)]
        return free

    def close(self) -> None:
        """Let nothing out any more."""
        self._units.clear()
