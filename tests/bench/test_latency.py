from __future__ import annotations

import json

import pytest

from bench.latency import LogEvent, death_to_next_test, fork_to_ready, largest_overlap, parse_log


def event(at: float, kind: str, worker: int) -> LogEvent:
    return {"type": kind, "at": at, "worker": worker}


CRASH = [
    event(1.0, "StartWorker", 0),
    event(1.0, "StartWorker", 1),
    event(1.02, "WorkerReady", 0),
    event(1.03, "WorkerReady", 1),
    event(1.1, "Started", 0),
    event(1.2, "WorkerDied", 0),
    event(1.201, "StartWorker", 2),
    event(1.21, "Started", 1),
    event(1.22, "WorkerReady", 2),
    event(1.23, "Started", 2),
    event(1.24, "Started", 2),
]


def test_each_worker_counts_from_its_own_order() -> None:
    assert fork_to_ready(CRASH) == pytest.approx([0.02, 0.03, 0.019])


def test_the_successor_is_not_a_worker_that_was_there_before() -> None:
    assert death_to_next_test(CRASH) == pytest.approx(0.03)


@pytest.mark.parametrize("events", [CRASH[:5], CRASH[:9]], ids=["no-death", "no-successor"])
def test_no_latency_without_a_death_and_a_successor(events: list[LogEvent]) -> None:
    with pytest.raises(ValueError, match="no worker died, or no successor started a test"):
        death_to_next_test(events)


def test_other_events_and_fields_of_the_log_are_passed_over() -> None:
    others = [{"type": "Finished", "at": 1.15, "worker": 0, "test": 3}, {"type": "Note", "at": 0}]
    assert death_to_next_test([*others, *CRASH]) == pytest.approx(0.03)


def test_a_broken_last_line_is_left_out() -> None:
    lines = "".join(f"{json.dumps(one)}\n" for one in CRASH)
    assert parse_log(lines + '{"type": "Star') == CRASH
    assert parse_log("") == []


def test_tests_overlap_that_have_begun_and_not_ended() -> None:
    kinds = ["Started", "Started", "Finished", "Started", "Finished", "Finished", "Started"]
    assert largest_overlap([event(n, kind, 0) for n, kind in enumerate(kinds)]) == 2
    assert largest_overlap([]) == 0
