from __future__ import annotations

import pytest

from pytest_braid.model import events as e
from pytest_braid.report.story import Phase, Ran, Story
from tests.report.telling import NODEIDS, tell


@pytest.fixture
def story() -> Story:
    story = Story()
    tell(story)
    return story


def test_each_run_of_a_test_has_its_place_its_time_and_its_outcome(story: Story) -> None:
    ran = [(it.test, it.worker, it.start, it.end, it.outcome) for it in story.ran]
    assert ran == [
        (0, 0, 101.0, 103.0, "passed"),
        (2, 1, 101.5, 102.0, "crashed"),
        (1, 0, 103.5, 104.0, "failed"),
    ]


def test_workers_live_from_the_order_to_their_end(story: Story) -> None:
    lives = [(it.name, it.ordered, it.ready, it.over, it.end) for it in story.lives.values()]
    assert lives == [
        ("gw0", 100.5, 100.9, 104.1, "ended"),
        ("gw1", 100.5, 100.9, 102.0, "crashed"),
    ]


def test_a_test_is_told_where_it_ran_when_and_why_there(story: Story) -> None:
    because = (
        "gw0 was free when test_a.py::test_1 was over, and left room for it; it lay in the queue "
        "for 0.40 s"
    )
    assert story.lines(1) == [
        "ran in gw0, 3.50 s after the run began, for 0.50 s: failed",
        "setup 0.10 s, call 0.10 s, teardown 0.10 s",
        f"there because {because}",
    ]
    assert story.waits.lines(1) == [
        "waited 2.50 s",
        "2.50 s for resource 'db', because of test_a.py::test_1 (2.50 s)",
    ]


def test_what_runs_at_the_end_of_a_log_is_running() -> None:
    story = Story()
    tell(story, until=10)
    assert story.ran[0].outcome == "running"
    assert not story.is_whole
    assert story.lines(0)[0].startswith("ran in gw0, 1.00 s after the run began, and was still")


def test_a_worker_that_was_killed_has_run_out_of_time_and_cuts_what_ran_beside() -> None:
    story = Story()
    tell(story, until=9)
    for test in (0, 1):
        story.event(e.Started(worker=0, test=test, strand=test + 1, at=101.0))
    story.event(e.WorkerDied(worker=0, running=1, is_crash=False, at=105.0))
    assert [it.outcome for it in story.ran] == ["cut", "timed out"]
    assert story.lives[0].end == "killed"


@pytest.mark.parametrize(
    ("phases", "outcome"),
    [
        ([], "passed"),
        ([("setup", "failed")], "error"),
        ([("setup", "passed"), ("call", "failed"), ("teardown", "failed")], "failed"),
        ([("setup", "passed"), ("call", "passed"), ("teardown", "failed")], "error"),
        ([("setup", "skipped"), ("teardown", "passed")], "skipped"),
        ([("setup", "passed"), ("call", "of a plugin")], "passed"),
    ],
)
def test_the_worst_phase_is_the_outcome(phases: list[tuple[str, str]], outcome: str) -> None:
    ran = Ran(0, 0, 0, 1.0, 2.0, [Phase(when, how, 0.1) for when, how in phases])
    assert ran.outcome == outcome


UPON = {
    "Started": (e.Started(worker=1, test=0, at=1), "the queue of gw1 was getting short and this"),
    "Asked": (e.Asked(worker=1, at=1), "gw1 had nothing left and asked when this was next in line"),
    "other": (e.Asked(worker=0, at=1), "gw1 waited, and this was next in line when gw0 asked"),
    "Revoked": (e.Revoked(worker=0, tests=(), at=1), "taken back out of the queue of gw0 for gw1"),
    "Died": (e.WorkerDied(worker=0, running=None, at=1), "gw0 had died, and left it to gw1"),
    "Gone": (e.WorkerGone(worker=0, at=1), "gw0 had made room for gw1"),
    "Collected": (e.TestsCollected(nodeids=NODEIDS, at=1), "it was dealt to gw1 at the start"),
}


@pytest.mark.parametrize(("upon", "why"), UPON.values(), ids=UPON)
def test_the_reason_is_upon_what_it_was_dealt(upon: e.RunEvent, why: str) -> None:
    from pytest_braid.model.commands import Assign

    story = Story()
    story.event(e.TestsCollected(nodeids=NODEIDS, at=1))
    story.event(upon)
    story.command(Assign(1, (1, 2)), 1.0)
    story.event(e.Started(worker=1, test=1, at=1.0))
    assert why in story.why(story.ran[-1])
    assert story.why(story.ran[-1]).endswith(", with 1 other")


def test_a_successor_in_a_slot_is_told_by_its_number() -> None:
    from pytest_braid.model.commands import StartWorker

    story = Story()
    story.command(StartWorker(4, slot=1), 1.0)
    assert story.worker(4) == "gw1 (process 4)"
    assert story.worker(0) == "gw0"


def test_a_wait_that_is_told_when_it_is_over_is_none() -> None:
    from pytest_braid.model.commands import Assign, Wait

    story = Story()
    story.event(e.TestsCollected(nodeids=NODEIDS, at=1))
    story.command(Assign(0, (1,)), 2.0)
    story.command(Wait(1, "resource 'db'", (0,)), 2.0)
    story.command(Assign(0, (2,)), 4.0)
    assert story.waits.spans() == []
    story.waits.event(e.Revoked(worker=0, tests=(1,), at=5.0))
    story.command(Wait(1, "resource 'db'", (0,)), 6.0)
    story.command(Assign(1, (1,)), 8.0)
    assert [(it.start, it.end, it.test) for it in story.waits.spans()] == [(6.0, 8.0, 1)]
