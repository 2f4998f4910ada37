from __future__ import annotations

import pytest

from pytest_braid.history.record import (
    MOST_MISSED,
    OLDEST,
    FixtureRecord,
    History,
    TestRecord,
    after_run,
    merged,
)

A, B, C = "test_a.py::test_one", "test_a.py::test_two", "test_b.py::test_one"


def history(**calls: float) -> History:
    names = {"a": A, "b": B, "c": C}
    return History({names[name]: TestRecord(call=call) for name, call in calls.items()})


def test_the_first_run_is_taken_as_it_is() -> None:
    known = after_run(History(), history(a=2.0), (), day=7)
    assert known.tests == {A: TestRecord(call=2.0, day=7)}


def test_two_runs_count_alike_and_later_the_latest_counts_most() -> None:
    known = after_run(history(a=1.0), history(a=3.0), (), day=0)
    assert known.tests[A].call == pytest.approx(2.0)
    for _ in range(10):
        known = after_run(known, history(a=10.0), (), day=0)
    assert known.tests[A].call > 9.5
    assert known.tests[A].runs == 12


def test_a_failed_test_does_not_change_what_is_known_of_it() -> None:
    known = after_run(history(a=6.0), history(a=0.1), [A], day=3)
    assert known.tests[A] == TestRecord(call=6.0, day=3)
    assert after_run(History(), history(a=0.1), [A], day=3).tests[A].call == pytest.approx(0.1)


def test_a_test_that_collections_of_its_file_do_not_find_is_forgotten() -> None:
    known = history(a=1.0, b=1.0, c=1.0)
    for _ in range(MOST_MISSED - 1):
        known = after_run(known, history(a=1.0), (), 0, [A])
    assert known.tests.keys() == {A, B, C}
    known = after_run(known, history(a=1.0), (), 0, [A])
    assert known.tests.keys() == {A, C}, "what lies in another file was not to be expected"


@pytest.mark.parametrize("collected", [(), (A, B)], ids=["a part", "stopped early"])
def test_a_test_that_only_did_not_run_is_not_missed(collected: tuple[str, ...]) -> None:
    known = history(a=1.0, b=1.0)
    for _ in range(MOST_MISSED + 1):
        known = after_run(known, history(a=1.0), (), 0, collected)
    assert known.tests[B] == TestRecord(call=1.0)


def test_what_no_run_has_seen_for_long_is_forgotten() -> None:
    known = History({A: TestRecord(call=1.0, day=10)}, {"::db": FixtureRecord(1.0, day=10)})
    assert after_run(known, history(c=1.0), (), day=10 + OLDEST).tests.keys() == {A, C}
    late = after_run(known, history(c=1.0), (), day=11 + OLDEST)
    assert late.tests.keys() == {C}
    assert not late.fixtures


def test_setups_of_fixtures_are_means_too() -> None:
    run = History(fixtures={"::db": FixtureRecord(3.0)})
    known = after_run(History(fixtures={"::db": FixtureRecord(1.0)}), run, (), day=5)
    assert known.fixtures == {"::db": FixtureRecord(2.0, 2, 5)}


def test_two_histories_are_weighted_by_their_runs() -> None:
    one = History({A: TestRecord(call=1.0, waits=0.5, runs=3, day=4)})
    other = History({A: TestRecord(call=5.0, runs=1, day=9), C: TestRecord(call=1.0)})
    both = merged(one, other)
    assert both.tests[A] == TestRecord(call=2.0, waits=0.5, runs=4, day=9)
    assert both.tests[C] == TestRecord(call=1.0)


def test_fixtures_of_two_histories_are_merged() -> None:
    one = History(fixtures={"::db": FixtureRecord(1.0, 1, 2)})
    other = History(fixtures={"::db": FixtureRecord(4.0, 2, 1), "::x": FixtureRecord(1.0)})
    assert merged(one, other).fixtures == {
        "::db": FixtureRecord(3.0, 3, 2),
        "::x": FixtureRecord(1.0),
    }
