"""What the controller says of processes that are gone."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from pytest_braid.control.fleet import Underway, describe_end


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


def report(when: Any, outcome: Any = "passed", duration: Any = 1.0) -> pytest.TestReport:
    made = pytest.TestReport("a", ("a", 0, "a"), {}, outcome, None, when)
    made.duration = duration
    return made


def underway(*reports: pytest.TestReport) -> Underway:
    test = Underway(0, 0.0)
    for each in reports:
        test.note(each)
    return test


def test_what_reports_tell_of_a_test_adds_up() -> None:
    """Where a plugin repeats it, too."""
    again = [report("setup", duration=0.5), report("call", "rerun"), report("teardown")]
    test = underway(*again, report("setup", duration=0.5), report("call"), report("teardown"))
    assert (test.setup, test.call, test.teardown) == (1.0, 2.0, 2.0)
    assert (test.passed, test.outcome) == (False, "passed")


def test_a_subtest_decides_nothing_of_its_test() -> None:
    part: Any = report("call", "failed")
    part.context = object()
    assert underway(report("setup"), part).outcome is None
    assert underway(part, report("call")).outcome == "passed"


def test_a_plugin_may_report_what_it_likes() -> None:
    test = underway(report("setup", duration="long"), report("collect", duration=2.0))
    assert (test.setup, test.call, test.teardown) == (0.0, 0.0, 0.0)
