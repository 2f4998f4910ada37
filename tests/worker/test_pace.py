"""How many tests are let run at once, in simulated time."""

from __future__ import annotations

import time

import pytest

from pytest_braid.worker.pace import LONG, SHORT, Pace, Usage


class Counted(Usage):
    """What a test says that the process has had."""

    def __init__(self) -> None:
        self.cpu, self.lost = 0.0, 0

    def __call__(self) -> tuple[float, int]:
        return self.cpu, self.lost


@pytest.fixture
def usage() -> Counted:
    return Counted()


@pytest.fixture
def pace(usage: Counted) -> Pace:
    return Pace(usage, has_lock=True)


def fill(pace: Pace, now: float, first: int = 0) -> int:
    """Begin as many as there is room for; how many."""
    count = 0
    while count < 100 and pace.has_room(now):
        pace.begin(first + count, now)
        count += 1
    return count


def looked(pace: Pace, usage: Counted, now: float, *, share: float, lost: int = 0) -> float:
    """Look when it is time, and the process has computed for that share of it; the time."""
    seconds = 1.01 * SHORT
    usage.cpu += share * seconds
    usage.lost += lost
    pace.look(now + seconds)
    return now + seconds


def grown(pace: Pace, usage: Counted, now: float) -> tuple[float, int]:
    """Let it grow beside tests that wait; the time, and how many run."""
    running = 0
    for _ in range(3):
        running += fill(pace, now, running)
        now = looked(pace, usage, now, share=0)
    return now, running + fill(pace, now, running)


def test_beside_a_short_test_that_computes_none_begins(pace: Pace, usage: Counted) -> None:
    assert fill(pace, 1.0) == 1
    now = looked(pace, usage, 1.0, share=1)
    assert not pace.has_room(now)


def test_beside_tests_that_wait_as_many_more_begin(pace: Pace, usage: Counted) -> None:
    now = 1.0
    begun: list[int] = []
    for _ in range(5):
        begun.append(fill(pace, now, sum(begun)))
        now = looked(pace, usage, now, share=0.2)
    assert begun == [1, 1, 2, 4, 8]


def test_short_tests_that_compute_go_on_one_after_another(pace: Pace, usage: Counted) -> None:
    now = 1.0
    for test in range(100):
        assert fill(pace, now, test) == 1
        now += SHORT / 4
        usage.cpu += SHORT / 4
        pace.end(test, now)


def test_short_tests_that_wait_get_company(pace: Pace) -> None:
    now = 1.0
    for test in range(10):
        pace.begin(test, now)
        now += SHORT / 4
        pace.end(test, now)
    assert fill(pace, now, 10) == 2


def test_where_the_process_computes_all_the_time_one_less_may_run(
    pace: Pace, usage: Counted
) -> None:
    now, running = grown(pace, usage, 1.0)
    assert running == 8
    for test in range(4):
        now = looked(pace, usage, now, share=1)
        pace.end(test, now)
    assert not pace.has_room(now)  # four run, and four may
    pace.end(4, now)
    assert fill(pace, now, 100) == 1


def test_where_threads_take_the_processor_from_each_other_one_less_may_run(
    pace: Pace, usage: Counted
) -> None:
    now, running = grown(pace, usage, 1.0)
    now = looked(pace, usage, now, share=0.8, lost=5)
    pace.end(0, now)
    assert not pace.has_room(now)
    pace.end(1, now)
    assert fill(pace, now, running) == 1


def test_never_is_there_room_for_none(pace: Pace, usage: Counted) -> None:
    now = 1.0
    fill(pace, now)
    for _ in range(5):
        now = looked(pace, usage, now, share=1)
    pace.end(0, now)
    assert pace.has_room(now)


def test_a_process_that_loses_the_processor_does_not_wait(pace: Pace, usage: Counted) -> None:
    fill(pace, 1.0)
    now = looked(pace, usage, 1.0, share=0, lost=1)
    assert not pace.has_room(now)


def test_as_long_as_there_is_room_left_it_does_not_become_more(pace: Pace, usage: Counted) -> None:
    now, running = grown(pace, usage, 1.0)
    for test in range(1, running):
        pace.end(test, now)
    for _ in range(5):
        now = looked(pace, usage, now, share=0)
    assert fill(pace, now, 100) == running - 1


def test_what_is_idle_before_a_test_begins_does_not_wait(pace: Pace) -> None:
    fill(pace, 1.0)
    pace.end(0, 1.0 + SHORT / 2)
    pace.begin(1, 5.0)
    pace.look(5.0 + SHORT / 2)
    assert not pace.has_room(5.0 + SHORT / 2)


def test_a_long_test_is_not_waited_for_whatever_it_does(pace: Pace) -> None:
    pace.begin(0, 1.0)
    assert not pace.has_room(1.0 + 0.9 * LONG)
    assert pace.has_room(1.0 + LONG)


def test_without_a_lock_of_the_interpreter_there_is_no_pace(usage: Counted) -> None:
    pace = Pace(usage, has_lock=False)
    assert fill(pace, 1.0) == 100
    pace.end(3, 1.0)


def test_it_is_asked_less_often_as_long_as_nothing_waits(pace: Pace, usage: Counted) -> None:
    pauses = [pace.pause() for _ in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[:2] == [SHORT, 2 * SHORT]
    assert pauses[-1] == pauses[-2] == LONG
    fill(pace, 1.0)
    looked(pace, usage, 1.0, share=0)
    assert pace.pause() == SHORT


def test_the_usage_is_that_of_all_threads_of_the_process() -> None:
    usage = Usage()
    before, lost = usage()
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass
    after, lost_by_now = usage()
    assert after - before >= 0.019
    assert lost_by_now >= lost
