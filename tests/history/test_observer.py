from __future__ import annotations

from typing import Any

from pytest_braid.history.estimates import estimates
from pytest_braid.history.observer import Observer
from pytest_braid.history.record import FixtureRecord, History, TestRecord
from pytest_braid.model import events as e
from pytest_braid.model.estimates import Estimates, Instance

NODEIDS = ("test_a.py::test_0", "test_a.py::test_1")


def observed(*events: e.Event) -> Observer:
    observer = Observer()
    for event in (e.TestsCollected(nodeids=NODEIDS, at=0.0), *events):
        observer.event(event)
    return observer


def over(test: int, setup: float = 0.0, **more: Any) -> e.Finished:
    given = {"call": 1.0, "teardown": 0.5, **more}
    return e.Finished(worker=0, test=test, setup=setup, at=9.0, **given)


def test_phases_waiting_and_memory_are_those_of_the_test() -> None:
    run = observed(over(0, 0.5, cpu=0.5, memory=99)).run
    assert run == History({NODEIDS[0]: TestRecord(0.5, 1.0, 0.5, 0.75, 99)})


def test_a_fixture_that_others_use_too_is_no_time_of_the_test() -> None:
    made = e.FixtureSetUp(worker=0, test=0, fixture="::db", seconds=2.0, at=0.0)
    again = e.FixtureSetUp(worker=1, test=1, fixture="::db", seconds=4.0, at=0.0)
    run = observed(made, over(0, 2.25), again).run
    assert run.tests[NODEIDS[0]].setup == 0.25
    assert run.fixtures == {"::db": FixtureRecord(3.0)}


def test_a_fixture_that_another_test_sets_up_is_no_time_of_the_test() -> None:
    run = observed(over(0, 2.25, waited=2.0)).run
    assert run.tests[NODEIDS[0]].setup == 0.25


def test_a_test_that_did_not_end_teaches_nothing() -> None:
    made = e.FixtureSetUp(worker=0, test=0, fixture="::db", seconds=2.0, at=0.0)
    run = observed(e.Started(worker=0, test=0, at=0.0), made).run
    assert (run.tests, [*run.fixtures]) == ({}, ["::db"])


def test_a_test_that_did_not_pass_is_not_sure() -> None:
    observer = observed(over(0, passed=False), over(1))
    assert observer.unsure == {NODEIDS[0]}


def test_what_fails_behind_the_end_of_a_test_counts_too() -> None:
    """The teardown of what was kept for a next one."""
    late = e.Reported(worker=0, test=0, when="teardown", outcome="failed", duration=2.0, at=9.5)
    observer = observed(over(0), late)
    assert observer.run.tests[NODEIDS[0]].teardown == 2.5
    assert observer.unsure == {NODEIDS[0]}


def test_reports_before_the_end_are_in_what_is_told_then() -> None:
    early = e.Reported(worker=0, test=0, when="call", outcome="failed", duration=2.0, at=8.0)
    observer = observed(early, over(0))
    assert (observer.run.tests[NODEIDS[0]].call, observer.unsure) == (1.0, set())


def test_a_further_copy_of_a_test_is_the_same_test() -> None:
    assert observed(over(3)).run.tests.keys() == {NODEIDS[1]}


def test_what_is_expected_is_what_was() -> None:
    known = History({NODEIDS[1]: TestRecord(1.0, 2.0, 3.0)}, {"::db": FixtureRecord(0.5)})
    assert estimates(known, NODEIDS, [("::db", False), ("::x[0]", True)]) == Estimates(
        (None, 6.0), (Instance("::db", setup=0.5), Instance("::x[0]", is_parametrized=True))
    )


def test_of_unknown_tests_nothing_is_expected() -> None:
    assert estimates(History(), NODEIDS, []) == Estimates()
