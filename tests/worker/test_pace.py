"""How many tests are let run at once, by made-up times."""

from __future__ import annotations

from pytest_braid.worker.pace import SHORT, Pace


def fill(pace: Pace, now: float, first: int) -> int:
    """How many tests begin now."""
    count = 0
    while count < 50 and pace.has_room(now):
        pace.begin(first + count, now)
        count += 1
    return count


def test_short_tests_run_one_after_another() -> None:
    pace = Pace(has_lock=True)
    for test in range(20):
        assert fill(pace, test * SHORT / 2, test) == 1
        pace.end(test)


def test_beside_tests_that_wait_as_many_more_begin() -> None:
    pace = Pace(has_lock=True)
    began = [fill(pace, tick * 1.01 * SHORT, 100 * tick) for tick in range(5)]
    assert began == [1, 1, 2, 4, 8]


def test_a_long_test_does_not_keep_short_ones_from_running() -> None:
    pace = Pace(has_lock=True)
    pace.begin(0, 0.0)
    for test in range(1, 20):
        assert fill(pace, SHORT + test * SHORT / 2, test) == 1
        pace.end(test)


def test_without_the_interpreters_lock_all_begin() -> None:
    assert fill(Pace(has_lock=False), 0.0, 0) == 50


def test_it_asks_more_rarely_while_no_test_seems_to_wait() -> None:
    pace = Pace(has_lock=True)
    assert [pace.pause() / SHORT for _ in range(6)] == [1, 2, 4, 8, 8, 8]
    pace.begin(0, 0.0)
    assert pace.has_room(2 * SHORT)
    assert pace.pause() == SHORT
