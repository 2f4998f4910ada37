"""What the controller says of processes that are gone."""

from __future__ import annotations

import signal

import pytest

from pytest_braid.control.fleet import describe_end


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "its process ended with exit code 0"),
        (3, "its process ended with exit code 3"),
        (-signal.SIGSEGV, "its process was killed by signal 11 (SIGSEGV)"),
        (-signal.SIGRTMAX, f"its process was killed by signal {int(signal.SIGRTMAX)} (SIGRTMAX)"),
    ],
)
def test_an_end_is_described_by_code_or_signal(status: int, said: str) -> None:
    assert describe_end(status) == said


def test_sigkill_is_told_with_its_usual_cause() -> None:
    assert "SIGKILL" in describe_end(-signal.SIGKILL)
    assert "memory" in describe_end(-signal.SIGKILL)
