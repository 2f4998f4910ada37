"""How many tests are let run at once, in simulated time."""

from __future__ import annotations

import resource
import threading
import time

import pytest

from pytest_braid.worker.pace import LONG, OPEN, SAMPLE, SHORT, Pace, Waits


class Counted(Waits):
    """Counts of waits that a test sets."""

    def __init__(self) -> None:
        self.process = self.thread = 0

    def of_process(self) -> int:
        return self.process

    def of_thread(self) -> tuple[int, int]:
        return 1, self.thread


@pytest.fixture
def waits() -> Counted:
    return Counted()


@pytest.fixture
def pace(waits: Counted) -> Pace:
    return Pace(waits, has_lock=True)


def run(pace: Pace, waits: Counted, *, waiting: int) -> float:
    """Run as many short tests as make a sample, which wait so often; the time of the end."""
    now = 1.0
    for test in range(SAMPLE + 1):
        assert pace.has_room(now)
        pace.begin(test, now)
        waits.thread += waiting
        now += SHORT / 4
        pace.end(test, now)
    return now


def test_beside_a_short_test_that_computes_none_begins(pace: Pace) -> None:
    assert pace.has_room(1.0)
    pace.begin(0, 1.0)
    assert not pace.has_room(1.0)
    pace.look(1.0 + 2 * SHORT)
    assert not pace.has_room(1.0 + 2 * SHORT)


def test_beside_tests_that_wait_as_many_more_begin(pace: Pace, waits: Counted) -> None:
    now = 1.0
    begun: list[float] = []
    for _ in range(5):
        waits.process += 2
        pace.look(now)
        count = 0
        while pace.has_room(now):
            pace.begin(len(begun), now)
            begun.append(now)
            count += 1
        now += 1.1 * SHORT
    assert [begun.count(at) for at in sorted(set(begun))] == [1, 1, 2, 4, 8]


def test_the_wait_of_the_thread_that_looks_is_none_of_a_test(pace: Pace, waits: Counted) -> None:
    pace.begin(0, 1.0)
    waits.process += 1
    pace.look(1.0 + 2 * SHORT)
    assert not pace.has_room(1.0 + 2 * SHORT)


def test_a_long_test_is_not_waited_for_whatever_it_does(pace: Pace) -> None:
    pace.begin(0, 1.0)
    assert pace.has_room(1.0 + LONG)


def test_short_tests_that_compute_go_on_one_after_another(pace: Pace, waits: Counted) -> None:
    now = run(pace, waits, waiting=0)
    pace.begin(100, now)
    assert not pace.has_room(now)


def test_where_short_tests_wait_all_may_run_for_a_while(pace: Pace, waits: Counted) -> None:
    now = run(pace, waits, waiting=1)
    for test in range(100, 120):
        assert pace.has_room(now)
        pace.begin(test, now)
    for test in range(100, 119):
        pace.end(test, now + OPEN / 2)
    assert pace.has_room(now + OPEN / 2)
    pace.end(119, now + OPEN)
    pace.begin(120, now + OPEN)
    assert not pace.has_room(now + OPEN)


def test_tests_that_have_company_are_no_sample(pace: Pace, waits: Counted) -> None:
    now = 1.0
    for test in range(0, 4 * SAMPLE, 2):
        pace.begin(test, now)
        pace.begin(test + 1, now)
        waits.thread += 2
        pace.end(test, now)
        pace.end(test + 1, now)
    pace.begin(1000, now)
    assert not pace.has_room(now)


def test_without_a_lock_of_the_interpreter_there_is_no_pace(waits: Counted) -> None:
    pace = Pace(waits, has_lock=False)
    for test in range(20):
        assert pace.has_room(1.0)
        pace.begin(test, 1.0)
    pace.end(3, 1.0)


def test_where_it_is_of_no_use_all_may_begin(waits: Counted) -> None:
    pace = Pace(waits, has_lock=True, is_of_use=False)
    pace.begin(0, 1.0)
    assert pace.has_room(1.0)


def test_it_is_asked_less_often_as_long_as_nothing_waits(pace: Pace) -> None:
    pauses = [pace.pause() for _ in range(6)]
    assert pauses == sorted(pauses)
    assert pauses[:2] == [SHORT, 2 * SHORT]
    assert pauses[-1] == pauses[-2] == 8 * SHORT


@pytest.mark.skipif(not hasattr(resource, "RUSAGE_THREAD"), reason="the system does not count")
def test_a_thread_that_sleeps_is_seen_to_wait() -> None:
    seen: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def sleep() -> None:
        waits = Waits()
        before = waits.of_thread()
        for _ in range(20):  # now and then the kernel counts one as a loss of the processor
            time.sleep(0.001)
        seen.append((before, waits.of_thread()))

    thread = threading.Thread(target=sleep)
    thread.start()
    thread.join()
    ((who, before), (still, after)) = seen[0]
    assert who == still != threading.get_ident()
    assert after > before
