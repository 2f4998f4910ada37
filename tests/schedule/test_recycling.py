"""Single decisions about workers that are replaced and tests that run alone."""

from __future__ import annotations

import pytest

from pytest_braid.model.commands import (
    Assign,
    End,
    Finish,
    GiveUp,
    Retire,
    Revoke,
    SchedulerCommand,
    StartWorker,
)
from pytest_braid.model.events import WorkerGone
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.scheduler import Scheduler
from pytest_braid.schedule.worker import UnexpectedEventError
from tests.schedule.test_scheduler import (
    NOTHING,
    STOP,
    asked,
    died,
    feed,
    finished,
    ready,
    revoked,
    started,
    stopped,
)


def scheduler_for(
    tests: str,
    workers: int,
    share: int | None = None,
    mode: Mode = Mode.LOAD,
    max_restarts: int | None = None,
) -> Scheduler:
    """A test for each letter, which is its unit; an exclamation mark for one that runs alone."""
    specs = [
        TestSpec(index, f"test_it.py::test_{index}", None if unit == "!" else unit, unit == "!")
        for index, unit in enumerate(tests)
    ]
    settings = SchedulerSettings(workers, mode, max_restarts, max_tests_per_worker=share)
    return Scheduler(specs, settings)


def gone(worker: int) -> WorkerGone:
    return WorkerGone(at=0.0, worker=worker)


def run_one(scheduler: Scheduler, worker: int, test: int) -> list[SchedulerCommand]:
    """A test that is the last in its worker's queue, from its start to its end."""
    feed(scheduler, ready(worker), started(worker, test))
    assert feed(scheduler, asked(worker)) == [End(worker)]
    return feed(scheduler, finished(worker, test))


def test_the_walk_in_the_docstring() -> None:
    scheduler = scheduler_for("aa", workers=1, share=1)
    assert scheduler.start(0.0) == [StartWorker(0, 0), Assign(0, (0,))]
    assert run_one(scheduler, 0, 0) == [Retire(0)]
    assert feed(scheduler, gone(0)) == [StartWorker(1, 0), Assign(1, (1,))]
    assert run_one(scheduler, 1, 1) == [Finish(1)]
    assert scheduler.done


def test_a_slot_is_the_number_of_the_worker_unless_told_otherwise() -> None:
    assert StartWorker(3) == StartWorker(3, 3) != StartWorker(3, 0)


class TestShares:
    def test_no_worker_is_given_more(self) -> None:
        scheduler = scheduler_for("a" * 9, workers=1, share=3)
        assert scheduler.start(0.0) == [StartWorker(0), Assign(0, (0, 1))]
        assert feed(scheduler, ready(0), started(0, 0)) == [Assign(0, (2,))]
        assert feed(scheduler, finished(0, 0, at=0.001), started(0, 1)) == NOTHING
        assert feed(scheduler, finished(0, 1, at=0.001), started(0, 2)) == NOTHING

    def test_a_worker_that_asks_between_tests_retires_at_once(self) -> None:
        scheduler = scheduler_for("aa", workers=1, share=1)
        scheduler.start(0.0)
        assert feed(scheduler, ready(0), started(0, 0), finished(0, 0)) == NOTHING
        assert feed(scheduler, asked(0)) == [Retire(0)]

    def test_nobody_retires_where_nothing_is_left_to_be_begun(self) -> None:
        scheduler = scheduler_for("aa", workers=2, share=1)
        scheduler.start(0.0)
        feed(scheduler, ready(1), started(1, 1))
        assert run_one(scheduler, 0, 0) == NOTHING
        assert feed(scheduler, finished(1, 1)) == [Finish(0), Finish(1)]

    def test_only_as_many_retire_as_there_is_work_for(self) -> None:
        scheduler = scheduler_for("aaa", workers=2, share=1)
        scheduler.start(0.0)
        assert run_one(scheduler, 0, 0) == [Retire(0)]
        assert run_one(scheduler, 1, 1) == NOTHING
        assert feed(scheduler, gone(0)) == [StartWorker(2, 0), Assign(2, (2,))]
        assert run_one(scheduler, 2, 2) == [Finish(1), Finish(2)]

    def test_who_waits_retires_when_a_crash_leaves_work(self) -> None:
        scheduler = scheduler_for("aa", workers=2, share=1, max_restarts=0)
        scheduler.start(0.0)
        feed(scheduler, ready(1), started(1, 1))
        run_one(scheduler, 0, 0)
        assert feed(scheduler, died(1)) == [Retire(0)]
        assert feed(scheduler, gone(0)) == [StartWorker(2, 0), Assign(2, (1,))]

    def test_what_is_revoked_is_not_counted(self) -> None:
        scheduler = scheduler_for("aaaaaa", workers=2, share=3, mode=Mode.WORKSTEAL)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0), ready(1), started(1, 3), died(1, running=3))
        feed(scheduler, finished(0, 0), started(0, 1), finished(0, 1), started(0, 2))
        assert feed(scheduler, asked(0)) == [End(0)]
        assert feed(scheduler, finished(0, 2)) == [Retire(0)]
        assert feed(scheduler, gone(0)) == [StartWorker(3, 0)]
        assert feed(scheduler, ready(3), asked(3)) == [Revoke(2)]
        assert feed(scheduler, revoked(2, 4, 5)) == [Assign(3, (5,)), Assign(2, (4,))]

    def test_the_end_of_a_retiring_worker_is_its_end_whatever_it_was(self) -> None:
        scheduler = scheduler_for("aa", workers=1, share=1, max_restarts=0)
        scheduler.start(0.0)
        run_one(scheduler, 0, 0)
        assert feed(scheduler, died(0)) == [StartWorker(1, 0), Assign(1, (1,))]

    def test_a_retiring_worker_that_stops_ends_the_run(self) -> None:
        scheduler = scheduler_for("aa", workers=1, share=1)
        scheduler.start(0.0)
        run_one(scheduler, 0, 0)
        assert feed(scheduler, stopped(0)) == NOTHING
        assert scheduler.done
        assert feed(scheduler, gone(0)) == NOTHING

    def test_after_a_stop_nobody_retires_and_nobody_succeeds(self) -> None:
        scheduler = scheduler_for("aaaa", workers=2, share=1)
        scheduler.start(0.0)
        feed(scheduler, ready(1), started(1, 1))
        assert run_one(scheduler, 0, 0) == [Retire(0)]
        assert feed(scheduler, STOP) == NOTHING
        assert feed(scheduler, gone(0)) == NOTHING
        assert feed(scheduler, asked(1)) == [End(1)]
        assert feed(scheduler, finished(1, 1)) == [Finish(1)]

    def test_the_successor_of_a_crashed_worker_has_a_new_slot(self) -> None:
        scheduler = scheduler_for("aaaa", workers=1, share=2)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0))
        assert feed(scheduler, died(0, running=0)) == [StartWorker(1, 1), Assign(1, (1,))]
        assert feed(scheduler, ready(1), started(1, 1)) == [Assign(1, (2,))]
        assert feed(scheduler, finished(1, 1)) == NOTHING
        assert run_one(scheduler, 1, 2) == [Retire(1)]
        assert feed(scheduler, gone(1)) == [StartWorker(2, 1), Assign(2, (3,))]

    def test_a_crash_that_ends_a_share_is_not_a_restart(self) -> None:
        scheduler = scheduler_for("aaa", workers=1, share=1, max_restarts=0)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0))
        assert feed(scheduler, died(0, running=0)) == [StartWorker(1, 1), Assign(1, (1,))]
        assert feed(scheduler, died(1)) == [GiveUp(0)]

    def test_only_who_was_told_to_can_be_gone(self) -> None:
        scheduler = scheduler_for("aa", workers=1, share=1)
        scheduler.start(0.0)
        with pytest.raises(UnexpectedEventError, match="gw0 went without having been told to"):
            scheduler.handle(gone(0))


class TestUnits:
    def test_a_unit_is_whole_where_it_can_be(self) -> None:
        scheduler = scheduler_for("aaabb", workers=1, share=4, mode=Mode.LOADFILE)
        assert scheduler.start(0.0) == [StartWorker(0), Assign(0, (0, 1))]
        feed(scheduler, ready(0), started(0, 0), finished(0, 0), started(0, 1), finished(0, 1))
        assert run_one(scheduler, 0, 2) == [Retire(0)]
        assert feed(scheduler, gone(0)) == [StartWorker(1, 0), Assign(1, (3,))]

    def test_a_unit_above_the_share_goes_on_in_the_slot(self) -> None:
        scheduler = scheduler_for("aaab", workers=2, share=2, mode=Mode.LOADFILE)
        scheduler.start(0.0)
        assert run_one(scheduler, 1, 3) == NOTHING  # the rest of the other unit is not for it
        feed(scheduler, ready(0), started(0, 0), finished(0, 0))
        assert run_one(scheduler, 0, 1) == [Retire(0)]
        assert feed(scheduler, gone(0)) == [StartWorker(2, 0), Assign(2, (2,))]

    def test_who_must_go_on_with_its_unit_is_no_hand_for_another(self) -> None:
        scheduler = scheduler_for("aaabbb", workers=2, share=2, mode=Mode.LOADFILE)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0), finished(0, 0), started(0, 1), asked(0))
        feed(scheduler, ready(1), started(1, 3))
        assert feed(scheduler, died(1, running=3)) == [StartWorker(2, 2), Assign(2, (4,))]
        assert feed(scheduler, finished(0, 1)) == [Retire(0)]

    def test_each_slot_keeps_its_copy(self) -> None:
        scheduler = scheduler_for("aabb", workers=2, share=1, mode=Mode.EACH)
        assert scheduler.start(0.0)[2:] == [Assign(0, (0,)), Assign(1, (2,))]
        assert run_one(scheduler, 1, 2) == [Retire(1)]
        assert run_one(scheduler, 0, 0) == [Retire(0)]
        assert feed(scheduler, gone(1)) == [StartWorker(2, 1), Assign(2, (3,))]
        assert feed(scheduler, gone(0)) == [StartWorker(3, 0), Assign(3, (1,))]


class TestAlone:
    def test_they_come_before_the_copy_of_the_slot(self) -> None:
        specs = [TestSpec(n, f"test_{n}", f"each-{n // 2}", n % 2 == 0) for n in range(4)]
        scheduler = Scheduler(specs, SchedulerSettings(2, Mode.EACH))
        assert scheduler.start(0.0)[2:] == [Assign(0, (0,)), Assign(1, (2,))]
        assert run_one(scheduler, 0, 0) == [Retire(0)]
        assert run_one(scheduler, 1, 2) == [Retire(1)]
        assert feed(scheduler, gone(1)) == [StartWorker(2, 1), Assign(2, (3,))]
        assert feed(scheduler, gone(0)) == [StartWorker(3, 0), Assign(3, (1,))]

    @pytest.mark.parametrize("mode", [Mode.LOAD, Mode.WORKSTEAL, Mode.LOADFILE])
    def test_such_tests_come_first_each_in_a_fresh_worker(self, mode: Mode) -> None:
        scheduler = scheduler_for("a!a!", workers=1, mode=mode)
        assert scheduler.start(0.0) == [StartWorker(0, 0), Assign(0, (1,))]
        assert run_one(scheduler, 0, 1) == [Retire(0)]
        assert feed(scheduler, gone(0)) == [StartWorker(1, 0), Assign(1, (3,))]
        assert run_one(scheduler, 1, 3) == [Retire(1)]
        assert feed(scheduler, gone(1)) == [StartWorker(2, 0), Assign(2, (0,))]
        assert feed(scheduler, ready(2), started(2, 0), asked(2), finished(2, 0)) == NOTHING
        assert run_one(scheduler, 2, 2) == [Finish(2)]

    def test_nobody_waits_for_the_test_of_a_worker_that_is_not_up(self) -> None:
        scheduler = scheduler_for("a!", workers=2)
        assert scheduler.start(0.0)[2:] == [Assign(0, (1,)), Assign(1, (0,))]
        assert feed(scheduler, ready(1), started(1, 0), asked(1)) == [End(1)]

    def test_they_count_as_units(self) -> None:
        scheduler = scheduler_for("aa!", workers=9, mode=Mode.LOADFILE)
        assert scheduler.start(0.0)[:2] == [StartWorker(0), StartWorker(1)]
        assert scheduler_for("!!!", 9, mode=Mode.LOADFILE).start(0.0)[2] == StartWorker(2)

    def test_who_has_run_others_retires_for_one_that_a_crash_has_left(self) -> None:
        scheduler = scheduler_for("a!", workers=2, max_restarts=0)
        scheduler.start(0.0)
        assert run_one(scheduler, 1, 0) == NOTHING
        assert feed(scheduler, died(0)) == [Retire(1)]
        assert feed(scheduler, gone(1)) == [StartWorker(2, 1), Assign(2, (1,))]

    def test_a_crash_of_one_is_no_restart(self) -> None:
        scheduler = scheduler_for("!!", workers=1, max_restarts=0)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0))
        assert feed(scheduler, died(0, running=0)) == [StartWorker(1, 1), Assign(1, (1,))]

    def test_a_stop_drops_them(self) -> None:
        scheduler = scheduler_for("!!", workers=1)
        scheduler.start(0.0)
        assert feed(scheduler, STOP) == [Revoke(0)]
        assert feed(scheduler, revoked(0, 0)) == [Finish(0)]
        assert scheduler.unfinished == [0, 1]
