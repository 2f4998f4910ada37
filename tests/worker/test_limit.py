"""`--maxfail` counts the failures of all workers, each of which sees them at once."""

from __future__ import annotations

import os
import tempfile
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.worker import limit
from pytest_braid.worker.limit import Limit, Tally

TEST: Any = object()


def session(failed: int, maxfail: int) -> Any:
    config = SimpleNamespace(getoption=lambda name, _: {"maxfail": maxfail}[name])
    return SimpleNamespace(testsfailed=failed, config=config)


def new_tally() -> Tally:
    with tempfile.TemporaryFile() as file:
        return Tally(file.fileno())


def test_what_one_process_counts_all_see() -> None:
    tally = new_tally()
    pid = os.fork()
    if pid == 0:
        tally.add(3, 2)
        os._exit(0)
    os.waitpid(pid, 0)
    tally.add(0, 1)
    assert tally.total() == 3


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(0, 12), st.integers(0, 3))
def test_the_limit_is_reached_when_all_failures_together_are_enough(
    failures: list[int], maxfail: int, before: int
) -> None:
    tally = new_tally()
    limits = []
    for worker, failed in enumerate(failures):
        its_session = session(before, maxfail)
        limit = Limit(its_session, tally, worker)
        its_session.testsfailed += failed
        limit.note(TEST)
        limits.append(limit)
    enough = maxfail > 0 and before + sum(failures) >= maxfail
    assert {limit.is_reached() for limit in limits} == {enough}


def test_a_successor_adds_to_the_count_of_its_slot() -> None:
    tally = new_tally()
    for failed in (1, 0, 2):
        its_session = session(0, maxfail=3)
        limit = Limit(its_session, tally, 7)
        for _ in range(failed):
            assert not limit.is_reached()
            its_session.testsfailed += 1
            limit.note(TEST)
    assert tally.total() == 3
    assert Limit(session(0, maxfail=3), tally, 7).is_reached()


def test_a_doubt_holds_others_until_it_is_settled() -> None:
    tally = new_tally()
    theirs, ours = (Limit(session(0, maxfail=1), tally, slot) for slot in (0, 1))
    theirs.doubt(TEST)
    seen: list[bool] = []
    waiting = threading.Thread(target=lambda: seen.append(ours.is_reached()))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    theirs.note(TEST)  # it was a failure that is expected
    waiting.join()
    assert seen == [False]


def test_a_doubt_that_becomes_a_failure_ends_all() -> None:
    tally = new_tally()
    its_session = session(0, maxfail=1)
    theirs, ours = Limit(its_session, tally, 0), Limit(session(0, maxfail=1), tally, 1)
    theirs.doubt(TEST)
    its_session.testsfailed = 1
    theirs.note(TEST)
    assert ours.is_reached()


def test_a_doubt_that_decides_nothing_holds_nobody() -> None:
    tally = new_tally()
    theirs, ours = (Limit(session(0, maxfail=2), tally, slot) for slot in (0, 1))
    theirs.doubt(TEST)
    assert not ours.is_reached()


def test_a_doubt_of_the_dead_is_settled_by_the_successor_or_forgotten() -> None:
    tally = new_tally()
    theirs, ours = (Limit(session(0, maxfail=1), tally, slot) for slot in (0, 1))
    theirs.doubt(TEST)
    assert not ours.is_reached()  # after a while
    Limit(session(0, maxfail=1), tally, 0)
    assert tally.doubts() == 0


def test_a_worker_of_several_tests_does_not_wait_for_a_doubt_of_its_own() -> None:
    its_session = session(0, maxfail=2)
    ours, others = Limit(its_session, new_tally(), 0), [TEST, object(), object()]
    for doubtful in others[:2]:
        assert not ours.is_doubtful()
        ours.doubt(doubtful)
    ours.note(others[2])
    assert ours.is_doubtful(), "two of them may fail yet"
    ours.note(others[1])
    assert not ours.is_doubtful()


def test_a_doubt_of_its_own_that_comes_meanwhile_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be settled only behind the caller."""
    tally = new_tally()
    theirs, ours = (Limit(session(0, maxfail=1), tally, slot) for slot in (0, 1))
    theirs.doubt(TEST)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        ours.doubt(TEST)

    monkeypatch.setattr(limit, "_sleep", pause)
    assert not ours.is_reached()
    assert len(pauses) == 1
    assert ours.is_doubtful()
