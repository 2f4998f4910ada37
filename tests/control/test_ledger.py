"""Which tests a worker that has died is held to have run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.control.ledger import Ledger

REPLAY: Any = None


def worker(claimed: list[int | None], underway: set[int]) -> Any:
    return SimpleNamespace(overrun=None, claimed=lambda: claimed, underway=dict.fromkeys(underway))


@pytest.mark.parametrize(
    ("claimed", "underway", "running"),
    [
        pytest.param([None], set(), [], id="none"),
        pytest.param([4], set(), [4], id="one that had no time to say so"),
        pytest.param([4, 5], {4, 5}, [4, 5], id="two"),
        pytest.param([4, 5, 6], {4, 6}, [4, 6], id="one of three had not begun yet"),
        pytest.param([3, 4, None], {4}, [4], id="one that is over and one that runs"),
    ],
)
def test_what_ran_is_what_is_claimed_and_not_over(
    claimed: list[int | None], underway: set[int], running: list[int]
) -> None:
    ledger = Ledger(REPLAY, 10)
    ledger.count(3)
    assert ledger.running(worker(claimed, underway)) == running
