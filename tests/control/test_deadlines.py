"""When a worker must be done, and which step follows, without a clock."""

from __future__ import annotations

import pytest

from pytest_braid.control.deadlines import GRACE, Deadlines, Step

QUIET: tuple[str, ...] = ()


@pytest.fixture
def deadlines() -> Deadlines[str]:
    """One worker that began at 10 and may take 3 seconds."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.start("a", 10.0, 3.0)
    return deadlines


def test_without_a_clock_nothing_is_due_ever() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.stop("a", 1.0)
    deadlines.go_on("a", 2.0)
    deadlines.clear("a")
    assert deadlines.next() is None
    assert deadlines.due(1e9, QUIET) == []


def test_the_walk_in_the_docstring(deadlines: Deadlines[str]) -> None:
    assert deadlines.next() == 13.0
    deadlines.stop("a", 11.0)
    deadlines.go_on("a", 11.5)
    assert deadlines.due(13.4, QUIET) == []
    assert deadlines.due(13.5, QUIET) == [("a", Step.STACKS)]
    assert deadlines.next() == 13.5 + GRACE
    assert deadlines.due(13.4 + GRACE, QUIET) == []
    assert deadlines.due(13.5 + GRACE, QUIET) == [("a", Step.TERM)]
    assert deadlines.due(13.5 + 2 * GRACE, QUIET) == [("a", Step.KILL)]
    assert deadlines.next() is None


def test_each_step_has_its_grace_however_late_the_one_before_was(
    deadlines: Deadlines[str],
) -> None:
    assert deadlines.due(50.0, QUIET) == [("a", Step.STACKS)]
    assert deadlines.next() == 50.0 + GRACE


def test_who_is_done_in_time_is_left_alone(deadlines: Deadlines[str]) -> None:
    deadlines.clear("a")
    assert deadlines.next() is None
    assert deadlines.due(1e9, QUIET) == []


def test_who_is_gone_meanwhile_is_not_killed(deadlines: Deadlines[str]) -> None:
    deadlines.due(13.0, QUIET)
    deadlines.clear("a")
    assert deadlines.due(1e9, QUIET) == []


def test_each_test_has_a_clock_of_its_own(deadlines: Deadlines[str]) -> None:
    deadlines.start("a", 12.0, 3.0)
    assert deadlines.due(14.0, QUIET) == []
    assert deadlines.next() == 15.0


def test_the_next_is_the_earliest(deadlines: Deadlines[str]) -> None:
    deadlines.start("b", 11.0, 1.0)
    assert deadlines.next() == 12.0
    assert deadlines.due(20.0, QUIET) == [("a", Step.STACKS), ("b", Step.STACKS)]


class TestAWaitForTheController:
    def test_is_not_the_time_of_a_test(self, deadlines: Deadlines[str]) -> None:
        deadlines.stop("a", 12.0)
        assert deadlines.next() is None
        assert deadlines.due(1e9, QUIET) == []
        deadlines.go_on("a", 1000.0)
        assert deadlines.next() == 1001.0

    def test_may_be_answered_twice(self, deadlines: Deadlines[str]) -> None:
        deadlines.stop("a", 12.0)
        deadlines.go_on("a", 14.0)
        deadlines.go_on("a", 99.0)
        assert deadlines.next() == 15.0

    def test_may_be_answered_before_it_was_heard_of(self, deadlines: Deadlines[str]) -> None:
        deadlines.stop("a", 12.0)
        deadlines.go_on("a", 11.0)
        assert deadlines.next() == 13.0

    def test_does_not_delay_the_end_that_has_begun(self, deadlines: Deadlines[str]) -> None:
        deadlines.due(13.0, QUIET)
        deadlines.stop("a", 13.0)
        assert deadlines.due(13.0 + GRACE, QUIET) == [("a", Step.TERM)]


class TestAWorkerThatHasJustSpoken:
    def test_is_not_overdue_before_all_is_heard(self, deadlines: Deadlines[str]) -> None:
        assert deadlines.due(13.0, ("a",)) == []
        assert deadlines.next() == 13.0
        assert deadlines.due(13.0, ("b",)) == [("a", Step.STACKS)]

    def test_cannot_talk_for_ever(self, deadlines: Deadlines[str]) -> None:
        turns = 0
        while not deadlines.due(13.0, ("a",)):
            turns += 1
        assert turns == 100

    def test_cannot_talk_itself_out_of_its_end(self, deadlines: Deadlines[str]) -> None:
        deadlines.due(13.0, QUIET)
        assert deadlines.due(13.0 + GRACE, ("a",)) == [("a", Step.TERM)]
