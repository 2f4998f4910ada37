"""Units: how they are laid out, bound, given back; and single decisions about them."""

from __future__ import annotations

import pytest

from pytest_braid.model.commands import Assign, End, Finish, GiveUp, Revoke, StartWorker
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.held import Held
from pytest_braid.schedule.layout import lay_out
from pytest_braid.schedule.ledger import Ledger
from pytest_braid.schedule.outlook import Outlook
from pytest_braid.schedule.scheduler import Scheduler
from pytest_braid.schedule.units import UnitPool
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
)


def specs_for(units: str) -> list[TestSpec]:
    """A test for each letter, which is its unit; a dot for a test without one."""
    return [
        TestSpec(index, f"test_it.py::test_{index}", None if unit == "." else unit)
        for index, unit in enumerate(units)
    ]


def scheduler_for(
    units: str, workers: int, mode: Mode = Mode.LOADFILE, max_restarts: int | None = None
) -> Scheduler:
    return Scheduler(specs_for(units), SchedulerSettings(workers, mode, max_restarts))


def running(
    units: str, workers: int, mode: Mode = Mode.LOADFILE, max_restarts: int | None = None
) -> Scheduler:
    """A scheduler whose workers are all up and run the first test of their units."""
    scheduler = scheduler_for(units, workers, mode, max_restarts)
    for command in scheduler.start(0.0):
        if isinstance(command, Assign):
            scheduler.handle(ready(command.worker))
            scheduler.handle(started(command.worker, command.tests[0]))
    return scheduler


class TestPool:
    def test_the_walk_in_the_docstring(self) -> None:
        pool = UnitPool([[0, 1, 2, 3], [4]], workers=2)
        assert pool.take(0, 2, ahead=1) == (0, 1)
        assert (len(pool), pool.holds(0)) == (1, True)
        pool.put_back(0, (0, 1))
        assert (len(pool), pool.holds(0)) == (2, False)
        assert pool.take(1, 2, ahead=1) == (0, 1)
        pool.put_back(1, (1,))
        assert (len(pool), pool.holds(1)) == (1, True)
        pool.claim(0)
        assert (len(pool), pool.holds(0)) == (0, True)
        pool.release(1)
        assert (len(pool), pool.holds(1)) == (1, False)
        assert pool.take(2, 9, ahead=1) == (1, 2, 3)
        assert pool.take(0, 9) == (4,)

    def test_units_come_in_the_order_of_their_first_tests(self) -> None:
        settings = SchedulerSettings(1, Mode.LOADFILE, reorder=False)
        specs = specs_for("ba.bab.")
        _, pool, _ = lay_out(specs, settings, Ledger({}, 1), Outlook(), Held(specs))
        assert pool.take(0, 9, ahead=9) == (0, 3, 5, 1, 4, 2, 6)

    def test_the_next_unit_waits_until_there_is_need_of_it(self) -> None:
        pool = UnitPool([[0, 1], [2]], workers=1)
        assert pool.take(0, 9, ahead=1) == (0, 1)
        assert pool.take(0, 9, ahead=0) == ()
        assert pool.take(0, 9, ahead=1) == (2,)

    def test_nobody_gets_more_than_an_even_share_of_the_units(self) -> None:
        pool = UnitPool([[test] for test in range(6)], workers=2)
        assert pool.take(0, 9, ahead=9) == (0, 1, 2)
        pool.claim(1)
        assert pool.take(1, 9, ahead=9) == (3, 4)
        assert pool.take(0, 9, ahead=9) == (5,)

    def test_units_that_have_not_begun_are_free_again_in_their_order(self) -> None:
        pool = UnitPool([[0, 1], [2], [3, 4, 5], [6]], workers=1)
        assert pool.take(0, 4, ahead=4) == (0, 1, 2, 3)
        pool.put_back(0, (1, 2, 3))
        assert len(pool) == 3
        assert pool.take(1, 9, ahead=9) == (2, 3, 4, 5, 6)
        assert pool.take(0, 9) == (1,)

    def test_what_a_dead_worker_leaves_of_a_unit_is_a_unit(self) -> None:
        pool = UnitPool([[0, 1, 2, 3], [4]], workers=2)
        pool.take(0, 2, ahead=1)
        pool.put_back(0, (1,))
        pool.release(0)
        pool.claim(1)
        assert pool.take(1, 2) == (1, 2)
        pool.put_back(1, (1, 2))
        assert len(pool) == 2

    def test_two_units_that_a_worker_had_begun_at_once_are_both_put_back(self) -> None:
        """Several strands: a test of the first one is still to come when the second has begun."""
        pool = UnitPool([[0, 1, 2], [3, 4]], workers=1)
        assert pool.take(0, 9, ahead=9) == (0, 1, 2, 3, 4)
        pool.put_back(0, (2, 4))
        assert (len(pool), pool.holds(0)) == (0, True)
        pool.release(0)
        assert (len(pool), pool.holds(0)) == (2, False)
        assert pool.take(1, 9, ahead=9) == (2, 4)

    def test_a_pinned_unit_stays_for_the_successor(self) -> None:
        pool = UnitPool([[0, 1], [2, 3]], workers=2, pinned=True)
        pool.take(0, 1, ahead=1)
        pool.put_back(0, (0,))
        pool.release(0)
        assert len(pool) == 1
        pool.bequeath(0, 2)
        assert pool.take(2, 9) == (0, 1)

    def test_a_closed_pool_swallows_what_is_put_back(self) -> None:
        pool = UnitPool([[0, 1]], workers=1)
        dealt = pool.take(0, 1, ahead=1)
        pool.close()
        pool.put_back(0, dealt)
        assert (len(pool), pool.holds(0)) == (0, False)


class TestDealing:
    def test_no_more_workers_than_units(self) -> None:
        assert scheduler_for("aabb", workers=4).start(0.0) == [
            StartWorker(0),
            StartWorker(1),
            Assign(0, (0, 1)),
            Assign(1, (2, 3)),
        ]

    def test_the_largest_unit_is_begun_first(self) -> None:
        assert Assign(0, (1, 2)) in scheduler_for("abbb.", workers=1).start(0.0)

    def test_behind_a_slow_test_the_rest_of_its_unit_is_queued_and_no_other(self) -> None:
        scheduler = running("aaabb", workers=1)
        assert feed(scheduler, finished(0, 0), started(0, 1)) == NOTHING
        assert feed(scheduler, finished(0, 1), started(0, 2)) == NOTHING
        assert feed(scheduler, asked(0)) == [Assign(0, (3,))]

    def test_fast_units_are_queued_one_after_the_other(self) -> None:
        scheduler = running("aabbcc", workers=1)
        assert feed(scheduler, finished(0, 0, at=0.001)) == NOTHING
        assert feed(scheduler, started(0, 1, at=0.001)) == [Assign(0, (2, 3, 4, 5))]

    def test_a_unit_that_has_begun_is_not_revoked(self) -> None:
        scheduler = running("aaab", workers=2)
        assert feed(scheduler, asked(1)) == [End(1)]

    def test_units_that_have_not_begun_go_to_who_asks(self) -> None:
        scheduler = running("aabbccddee", workers=2)
        feed(scheduler, finished(1, 2, at=0.001))
        assert feed(scheduler, started(1, 3, at=0.001)) == [Assign(1, (4, 5, 6, 7))]
        feed(scheduler, finished(0, 0), started(0, 1))
        assert feed(scheduler, asked(0)) == [Assign(0, (8,))]
        feed(scheduler, finished(0, 1), started(0, 8), finished(0, 8), started(0, 9))
        assert feed(scheduler, asked(0)) == [Revoke(1)]
        assert feed(scheduler, revoked(1, 4, 5, 6, 7)) == [Assign(0, (4,)), Assign(1, (6, 7))]

    def test_what_is_revoked_of_a_unit_that_has_begun_stays_with_its_worker(self) -> None:
        scheduler = running("aaaabbc", workers=2)
        feed(scheduler, finished(0, 0, at=0.001))
        assert feed(scheduler, started(0, 1, at=0.001)) == [Assign(0, (3, 6))]
        feed(scheduler, finished(1, 4), started(1, 5))
        assert feed(scheduler, asked(1)) == [Revoke(0)]
        assert feed(scheduler, revoked(0, 3, 6)) == [Assign(1, (6,)), Assign(0, (3,))]

    def test_each_worker_has_its_unit_whatever_their_sizes(self) -> None:
        scheduler = scheduler_for("abbccc", workers=1, mode=Mode.EACH)
        assigns = [Assign(0, (0,)), Assign(1, (1, 2)), Assign(2, (3, 4))]
        assert scheduler.start(0.0)[3:] == assigns

    def test_nobody_takes_the_unit_of_a_worker_that_is_not_up(self) -> None:
        scheduler = scheduler_for("ab", workers=2, mode=Mode.EACH)
        scheduler.start(0.0)
        assert feed(scheduler, ready(0), started(0, 0), asked(0)) == [End(0)]

    def test_chunks_have_a_largest_size(self) -> None:
        settings = SchedulerSettings(2, Mode.LOAD, max_chunk=1)
        scheduler = Scheduler(specs_for("." * 99), settings)
        assert scheduler.start(0.0)[2:] == [Assign(0, (0,)), Assign(1, (1,))]
        assert feed(scheduler, ready(0), started(0, 0)) == [Assign(0, (2,))]
        feed(scheduler, ready(1), started(1, 1), finished(0, 0, at=0.001))
        assert feed(scheduler, started(0, 2)) == [Assign(0, (4,))]

    def test_with_caution_a_worker_is_given_a_test_when_it_asks(self) -> None:
        settings = SchedulerSettings(2, Mode.LOAD, max_chunk=1, is_cautious=True)
        scheduler = Scheduler(specs_for("." * 99), settings)
        assert scheduler.start(0.0)[2:] == [Assign(0, (0,)), Assign(1, (1,))]
        assert feed(scheduler, ready(0), ready(1), started(0, 0), started(1, 1)) == NOTHING
        assert feed(scheduler, asked(1)) == [Assign(1, (2,))]
        assert feed(scheduler, finished(1, 1, at=0.02), started(1, 2, at=0.02)) == NOTHING
        assert feed(scheduler, asked(0)) == [Assign(0, (3,))]

    def test_with_caution_the_shortest_tests_are_given_in_advance(self) -> None:
        settings = SchedulerSettings(1, Mode.LOAD, max_chunk=1, is_cautious=True)
        scheduler = Scheduler(specs_for("." * 99), settings)
        scheduler.start(0.0)
        feed(scheduler, ready(0), started(0, 0), asked(0), finished(0, 0, at=0.001))
        assert feed(scheduler, started(0, 1, at=0.001)) == [Assign(0, (2,))]


class TestCrashes:
    def test_the_rest_of_the_unit_runs_in_the_successor(self) -> None:
        scheduler = running("aaabbb", workers=2)
        assert feed(scheduler, died(0, running=0)) == [StartWorker(2), Assign(2, (1, 2))]
        assert feed(scheduler, died(2, running=1)) == [StartWorker(3), Assign(3, (2,))]
        assert feed(scheduler, died(3, running=2)) == NOTHING
        assert scheduler.unfinished == [3, 4, 5]

    def test_the_rest_of_the_unit_runs_in_a_worker_that_waits(self) -> None:
        scheduler = running("aaab", workers=2, max_restarts=0)
        assert feed(scheduler, asked(1)) == [End(1)]
        assert feed(scheduler, died(0, running=0)) == [Assign(1, (1, 2))]

    def test_the_rest_of_a_unit_stays_with_the_successor_that_begins_with_it(self) -> None:
        scheduler = running("aaab", workers=2)
        feed(scheduler, died(0, running=0))
        assert feed(scheduler, finished(1, 3), asked(1)) == [End(1)]

    def test_only_a_successor_takes_over_a_copy_of_the_collection(self) -> None:
        scheduler = running("aab", workers=2, mode=Mode.EACH, max_restarts=1)
        assert feed(scheduler, asked(1)) == [End(1)]
        assert feed(scheduler, died(0)) == [StartWorker(2), Assign(2, (0, 1))]
        assert feed(scheduler, died(2, running=0)) == [GiveUp(1)]

    def test_the_units_of_a_dead_worker_come_back_in_their_order(self) -> None:
        scheduler = running("aaabbcdd", workers=1)
        feed(scheduler, finished(0, 0, at=0.02))
        assert feed(scheduler, started(0, 1, at=0.02), finished(0, 1, at=0.04)) == NOTHING
        feed(scheduler, started(0, 2, at=0.04))
        assert feed(scheduler, died(0)) == [StartWorker(1), Assign(1, (2, 3))]


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode.by_unit])
def test_after_a_stop_nothing_of_a_unit_is_dealt(mode: Mode) -> None:
    scheduler = running("aaa", workers=1, mode=mode)
    assert feed(scheduler, STOP) == [Revoke(0)]
    assert feed(scheduler, revoked(0, 1, 2), asked(0)) == [End(0)]
    assert feed(scheduler, finished(0, 0)) == [Finish(0)]
    assert scheduler.unfinished == [1, 2]
