"""Single decisions, told by hand-made events."""

from __future__ import annotations

import pickle

import pytest

from pytest_braid.model.commands import (
    Assign,
    End,
    Finish,
    GiveUp,
    Revoke,
    SchedulerCommand,
    StartWorker,
)
from pytest_braid.model.events import (
    Asked,
    Finished,
    Revoked,
    SchedulerEvent,
    Started,
    StopRequested,
    WorkerDied,
    WorkerReady,
    WorkerStopped,
)
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.scheduler import Scheduler
from pytest_braid.schedule.worker import UnexpectedEventError

NOTHING: list[SchedulerCommand] = []
STOP = StopRequested(at=0.0, reason="stopping after 1 failures")


def scheduler_for(tests: int, workers: int, max_restarts: int | None = None) -> Scheduler:
    specs = [TestSpec(index, f"test_it.py::test_{index}") for index in range(tests)]
    return Scheduler(specs, SchedulerSettings(workers, Mode.WORKSTEAL, max_restarts))


def running(tests: int, workers: int, max_restarts: int | None = None) -> Scheduler:
    """A scheduler whose workers are all up and run the first test of their slices."""
    scheduler = scheduler_for(tests, workers, max_restarts)
    for command in scheduler.start(0.0):
        if isinstance(command, Assign):
            scheduler.handle(ready(command.worker))
            scheduler.handle(started(command.worker, command.tests[0]))
    return scheduler


def ready(worker: int) -> WorkerReady:
    return WorkerReady(at=0.0, worker=worker)


def started(worker: int, test: int, at: float = 0.0) -> Started:
    return Started(at=at, worker=worker, test=test)


def asked(worker: int) -> Asked:
    return Asked(at=0.0, worker=worker)


def finished(worker: int, test: int, at: float = 1.0) -> Finished:
    return Finished(at=at, worker=worker, test=test)


def revoked(worker: int, *tests: int) -> Revoked:
    return Revoked(at=0.0, worker=worker, tests=tests)


def died(worker: int, running: int | None = None) -> WorkerDied:
    return WorkerDied(at=0.0, worker=worker, running=running)


def stopped(worker: int) -> WorkerStopped:
    return WorkerStopped(at=0.0, worker=worker)


def feed(scheduler: Scheduler, *events: SchedulerEvent) -> list[SchedulerCommand]:
    """Tell the events; the commands that answer the last one."""
    return [scheduler.handle(event) for event in events][-1]


class TestStart:
    def test_a_run_without_tests_is_done_at_once(self) -> None:
        scheduler = scheduler_for(tests=0, workers=4)
        assert scheduler.done
        assert scheduler.start(0.0) == NOTHING

    def test_no_more_workers_than_tests(self) -> None:
        scheduler = scheduler_for(tests=2, workers=4)
        assert scheduler.start(0.0) == [
            StartWorker(0),
            StartWorker(1),
            Assign(0, (0,)),
            Assign(1, (1,)),
        ]

    def test_two_tests_are_dealt_before_any_duration_is_known(self) -> None:
        scheduler = scheduler_for(tests=9, workers=1)
        assert scheduler.start(0.0) == [StartWorker(0), Assign(0, (0, 1))]
        assert feed(scheduler, ready(0), started(0, 0)) == [Assign(0, (2,))]

    def test_after_a_stop_nothing_starts(self) -> None:
        scheduler = scheduler_for(tests=2, workers=2)
        assert scheduler.handle(STOP) == NOTHING
        assert scheduler.done
        assert scheduler.start(0.0) == NOTHING
        assert scheduler.unfinished == [0, 1]


def test_the_walk_in_the_docstring() -> None:
    scheduler = scheduler_for(tests=3, workers=2)
    assert scheduler.start(0.0)[2:] == [Assign(0, (0,)), Assign(1, (1, 2))]
    assert feed(scheduler, ready(0), started(0, 0)) == NOTHING
    assert feed(scheduler, asked(0)) == [Revoke(1)]
    assert feed(scheduler, revoked(1, 1, 2)) == [Assign(0, (2,)), Assign(1, (1,))]
    assert feed(scheduler, ready(1), finished(0, 0), started(0, 2), started(1, 1)) == NOTHING
    assert feed(scheduler, asked(0)) == [End(0)]
    assert feed(scheduler, asked(1)) == [End(1)]
    assert feed(scheduler, finished(0, 2)) == NOTHING
    assert not scheduler.done
    assert feed(scheduler, finished(1, 1)) == [Finish(0), Finish(1)]
    assert scheduler.done


class TestQueues:
    def test_fast_tests_get_a_long_queue_filled_up_at_half(self) -> None:
        scheduler = running(tests=500, workers=1)
        assert feed(scheduler, finished(0, 0, at=1 / 128)) == NOTHING
        # 6 tests of 1/128 s make up 0.05 s; 1 and 2 were dealt before that was known.
        assert feed(scheduler, started(0, 1)) == [Assign(0, (3, 4, 5, 6, 7))]
        for test in (1, 2):
            assert feed(scheduler, finished(0, test, at=1 / 128)) == NOTHING
            assert feed(scheduler, started(0, test + 1)) == NOTHING
        assert feed(scheduler, finished(0, 3, at=1 / 128)) == NOTHING
        assert feed(scheduler, started(0, 4)) == [Assign(0, (8, 9, 10))]

    def test_slow_tests_have_one_in_the_queue(self) -> None:
        scheduler = running(tests=9, workers=1)
        assert feed(scheduler, finished(0, 0), started(0, 1, at=1.0)) == NOTHING
        assert feed(scheduler, finished(0, 1, at=2.0), started(0, 2, at=2.0)) == [Assign(0, (3,))]

    def test_a_new_worker_starts_with_the_pace_of_the_others(self) -> None:
        scheduler = running(tests=400, workers=2)
        feed(scheduler, finished(0, 0, at=0.001))
        (_, assign) = feed(scheduler, died(1, running=200))
        assert assign == Assign(2, tuple(range(201, 251)))


class TestQuestions:
    def test_a_question_that_crosses_an_assignment_asks_nothing(self) -> None:
        scheduler = scheduler_for(tests=2, workers=1)
        scheduler.start(0.0)
        assert feed(scheduler, ready(0), asked(0)) == NOTHING

    def test_a_question_is_open_again_when_its_answer_was_revoked(self) -> None:
        scheduler = running(tests=3, workers=2)
        feed(scheduler, finished(0, 0), asked(0))
        assert feed(scheduler, revoked(1, 2)) == [Assign(0, (2,))]
        assert feed(scheduler, STOP) == [Revoke(0)]
        assert feed(scheduler, revoked(0, 2)) == [End(0)]

    def test_an_end_that_may_have_been_revoked_with_tests_is_repeated(self) -> None:
        scheduler = running(tests=2, workers=2)
        assert feed(scheduler, asked(0)) == [End(0)]
        assert feed(scheduler, died(1, running=None)) == [Assign(0, (1,))]
        assert feed(scheduler, STOP) == [Revoke(0)]
        assert feed(scheduler, revoked(0, 1)) == [End(0)]

    def test_what_crossed_a_finish_changes_nothing(self) -> None:
        scheduler = running(tests=1, workers=1)
        assert feed(scheduler, finished(0, 0)) == [Finish(0)]
        assert feed(scheduler, asked(0)) == NOTHING
        assert feed(scheduler, died(0)) == NOTHING
        assert feed(scheduler, STOP) == NOTHING


class TestRevoking:
    def test_the_asker_gets_the_back_half_and_the_victim_keeps_the_front(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, finished(0, 0), started(0, 1), finished(0, 1), started(0, 2))
        assert feed(scheduler, asked(0)) == [Revoke(1)]
        assert feed(scheduler, revoked(1, 4, 5)) == [Assign(0, (5,)), Assign(1, (4,))]

    def test_a_queue_that_was_empty_is_not_asked_twice(self) -> None:
        scheduler = running(tests=4, workers=3)
        assert feed(scheduler, asked(0)) == [Revoke(2)]
        assert feed(scheduler, revoked(2)) == [End(0)]
        assert feed(scheduler, asked(1)) == [End(1)]

    def test_the_queue_with_the_most_expected_time_is_revoked(self) -> None:
        scheduler = running(tests=9, workers=3)
        feed(scheduler, finished(1, 3, at=0.01), started(1, 4), finished(2, 6, at=5.0))
        feed(scheduler, started(2, 7), finished(0, 0), started(0, 1), finished(0, 1))
        assert feed(scheduler, started(0, 2), asked(0)) == [Revoke(2)]

    def test_a_test_about_to_be_taken_is_left_to_its_worker(self) -> None:
        scheduler = running(tests=3, workers=2)
        feed(scheduler, finished(0, 0), asked(0), revoked(1, 2))
        assert feed(scheduler, asked(1)) == [End(1)]


class TestCrashes:
    def test_the_culprit_is_over_and_the_rest_goes_to_the_successor(self) -> None:
        scheduler = running(tests=6, workers=2)
        commands = feed(scheduler, died(0, running=0))
        assert commands == [StartWorker(2), Assign(2, (1, 2))]
        assert scheduler.unfinished == [1, 2, 3, 4, 5]

    def test_a_test_that_was_announced_and_not_run_is_run(self) -> None:
        scheduler = running(tests=6, workers=2)
        assert feed(scheduler, died(0)) == [StartWorker(2), Assign(2, (0, 1))]

    def test_a_culprit_that_was_not_announced_is_over_too(self) -> None:
        scheduler = scheduler_for(tests=4, workers=2)
        scheduler.start(0.0)
        assert feed(scheduler, ready(0), died(0, running=0)) == [StartWorker(2), Assign(2, (1,))]

    def test_nobody_succeeds_where_nothing_is_left(self) -> None:
        scheduler = running(tests=2, workers=2, max_restarts=0)
        assert feed(scheduler, died(0, running=0)) == NOTHING
        assert feed(scheduler, died(1, running=1)) == NOTHING
        assert scheduler.done

    def test_workers_that_wait_take_over_before_a_new_one_is_started(self) -> None:
        scheduler = running(tests=3, workers=3, max_restarts=0)
        assert feed(scheduler, asked(0), finished(0, 0), asked(1)) == [End(1)]
        assert feed(scheduler, died(2)) == [Assign(0, (2,))]

    def test_crashes_that_need_no_successor_count_too(self) -> None:
        scheduler = running(tests=4, workers=4, max_restarts=1)
        assert feed(scheduler, died(1, running=1)) == NOTHING
        assert (scheduler.crashes, scheduler.exceeded) == (1, None)
        assert feed(scheduler, died(2, running=2)) == NOTHING
        assert (scheduler.crashes, scheduler.exceeded) == (2, 1)

    def test_without_restarts_the_first_crash_gives_up(self) -> None:
        scheduler = running(tests=6, workers=2, max_restarts=0)
        assert feed(scheduler, died(0, running=0)) == [GiveUp(0), Revoke(1)]
        assert feed(scheduler, revoked(1, 4, 5)) == NOTHING
        assert feed(scheduler, finished(1, 3)) == [Finish(1)]
        assert scheduler.unfinished == [1, 2, 4, 5]

    def test_a_test_that_took_too_long_is_no_restart(self) -> None:
        scheduler = scheduler_for(tests=3, workers=1, max_restarts=0)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0))
        killed = WorkerDied(at=0.0, worker=0, running=0, is_crash=False)
        assert feed(scheduler, killed)[0] == StartWorker(1)
        feed(scheduler, ready(1), started(1, 1))
        assert feed(scheduler, died(1, running=1)) == [GiveUp(0)]

    def test_restarts_are_counted(self) -> None:
        scheduler = scheduler_for(tests=6, workers=1, max_restarts=2)
        scheduler.start(0.0)
        assert StartWorker(1) in feed(scheduler, died(0))
        assert StartWorker(2) in feed(scheduler, died(1))
        assert feed(scheduler, died(2)) == [GiveUp(2)]
        assert scheduler.done

    def test_without_a_limit_three_deaths_in_a_row_without_an_outcome_give_up(self) -> None:
        scheduler = scheduler_for(tests=6, workers=1)
        scheduler.start(0.0)
        feed(scheduler, died(0), died(1))
        assert feed(scheduler, died(2)) == [GiveUp(2)]

    def test_without_a_limit_an_outcome_buys_more_restarts(self) -> None:
        scheduler = scheduler_for(tests=6, workers=1)
        scheduler.start(0.0)
        feed(scheduler, died(0), died(1), ready(2), started(2, 0), died(2, running=0), died(3))
        assert StartWorker(5) in feed(scheduler, died(4))


class TestStop:
    def test_queues_are_emptied_and_running_tests_waited_for(self) -> None:
        scheduler = running(tests=6, workers=2)
        assert feed(scheduler, STOP) == [Revoke(0), Revoke(1)]
        assert feed(scheduler, revoked(0, 1, 2), revoked(1, 4, 5)) == NOTHING
        assert feed(scheduler, asked(0)) == [End(0)]
        assert feed(scheduler, finished(0, 0)) == NOTHING
        assert feed(scheduler, finished(1, 3)) == [Finish(0), Finish(1)]
        assert scheduler.done
        assert scheduler.unfinished == [1, 2, 4, 5]

    def test_a_test_that_its_worker_has_taken_is_waited_for(self) -> None:
        scheduler = running(tests=3, workers=1)
        feed(scheduler, STOP, revoked(0, 2))
        assert feed(scheduler, finished(0, 0)) == NOTHING
        assert feed(scheduler, started(0, 1), finished(0, 1)) == [Finish(0)]

    def test_workers_that_are_not_up_yet_are_told_to_finish(self) -> None:
        scheduler = scheduler_for(tests=2, workers=2)
        scheduler.start(0.0)
        feed(scheduler, STOP, revoked(0, 0))
        assert feed(scheduler, revoked(1, 1)) == [Finish(0), Finish(1)]

    def test_nobody_is_answered_before_all_queues_are_back(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, finished(0, 0), started(0, 1), finished(0, 1), started(0, 2))
        feed(scheduler, finished(0, 2), asked(0), revoked(1, 4, 5))
        assert feed(scheduler, STOP) == [Revoke(0), Revoke(1)]
        assert feed(scheduler, revoked(0, 5)) == NOTHING
        assert feed(scheduler, revoked(1, 4)) == [End(0)]

    def test_a_worker_that_stops_drops_what_it_has_taken(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, finished(0, 0))
        assert feed(scheduler, stopped(0)) == [Revoke(1)]
        assert feed(scheduler, revoked(1, 4, 5)) == NOTHING
        assert feed(scheduler, finished(1, 3)) == [Finish(0), Finish(1)]
        assert scheduler.unfinished == [1, 2, 4, 5]

    def test_a_worker_that_stops_after_the_run_was_stopped_is_not_waited_for(self) -> None:
        scheduler = running(tests=3, workers=1)
        assert feed(scheduler, finished(0, 0), STOP) == [Revoke(0)]
        assert feed(scheduler, revoked(0, 2)) == NOTHING
        assert feed(scheduler, stopped(0)) == [Finish(0)]

    def test_a_worker_that_stops_is_not_answered(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, finished(0, 0), started(0, 1), finished(0, 1), started(0, 2))
        feed(scheduler, asked(0), revoked(1, 4, 5), finished(0, 2))
        assert feed(scheduler, stopped(0)) == [Revoke(1)]
        assert feed(scheduler, revoked(1, 4)) == NOTHING

    def test_a_second_stop_changes_nothing(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, STOP, revoked(0, 1, 2), revoked(1, 4, 5))
        assert feed(scheduler, STOP) == NOTHING

    def test_a_crash_after_it_starts_nobody(self) -> None:
        scheduler = running(tests=6, workers=2)
        feed(scheduler, STOP, revoked(0, 1, 2), revoked(1, 4, 5))
        assert feed(scheduler, died(0, running=0)) == NOTHING
        assert feed(scheduler, died(1, running=3)) == NOTHING
        assert scheduler.done


class TestUnexpectedEvents:
    @pytest.mark.parametrize(
        ("event", "did"),
        [
            (started(0, 2), "started test 2"),
            (finished(0, 1), "finished test 1"),
            (revoked(0, 1), "had [1] revoked"),
        ],
        ids=["started", "finished", "revoked"],
    )
    def test_they_are_named(self, event: SchedulerEvent, did: str) -> None:
        scheduler = running(tests=6, workers=2)
        with pytest.raises(UnexpectedEventError) as caught:
            scheduler.handle(event)
        assert str(caught.value) == (
            f"worker gw0 {did}, but running there is 0 and queued 1, 2: worker and scheduler"
            " disagree. This is a fault of pytest-braid; please report it."
        )
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
