"""Which tests use which shared fixtures."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_braid.wire import messages as m


def users_of(tests: Sequence[m.Test], copies: int) -> tuple[dict[int, list[int]], list[int]]:
    """The tests that use each share, and those that could ask for one by name; by their numbers in
    so many copies of the collection."""
    users: dict[int, list[int]] = {}
    askers: list[int] = []
    for copy in range(copies):
        for index, test in enumerate(tests, copy * len(tests)):
            for share in test.shares:
                users.setdefault(share, []).append(index)
            if test.may_ask:
                askers.append(index)
    return users, askers
