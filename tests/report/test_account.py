from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.model.needs import Hold, Needs
from pytest_braid.report.account import Account, Idle
from pytest_braid.report.advice import Advice, Way
from pytest_braid.report.verdict import Machine, bound, verdict

NODEIDS = tuple(f"test_a.py::test_{n}" for n in range(40))
NOTHING = "only faster tests or more cores would help"
MACHINE = Machine(cores=2, load=0.0, knows_order=True, is_spawned=False, mode="load")


def begun(workers: int, strands: int = 1, needs: dict[int, Needs] | None = None) -> Account:
    """Ordered at 100 s, ready at 100.5 s."""
    account = Account({})
    account.event(
        e.RunStarted(
            run="",
            workers=workers,
            mode="load",
            wall=0,
            threads=strands if strands > 1 else 0,
            at=90.0,
        )
    )
    account.event(e.TestsCollected(nodeids=NODEIDS, needs=needs or {}, at=99.0))
    for number in range(workers):
        account.command(c.StartWorker(number), 100.0)
    for number in range(workers):
        account.event(e.WorkerReady(worker=number, at=100.5))
    return account


def run(
    account: Account,
    test: int,
    start: float,
    end: float,
    *,
    worker: int = 0,
    strand: int = 0,
    cpu: float | None = None,
    waited: float = 0.0,
) -> None:
    account.event(e.Started(worker=worker, test=test, strand=strand, at=start))
    account.event(e.Finished(worker=worker, test=test, cpu=cpu, waited=waited, at=end))


def idle(account: Account) -> dict[Idle, float]:
    account.close()
    return {why: round(seconds, 6) for why, seconds in account.idle.items() if seconds}


def test_every_second_of_every_lane_is_accounted_for() -> None:
    account = begun(2)
    run(account, 0, 100.5, 104.5)
    run(account, 1, 100.7, 102.0, worker=1)
    run(account, 2, 102.4, 103.0, worker=1)
    run(account, 3, 105.0, 110.5)
    assert idle(account) == {
        Idle.START: 0.5 + 0.5 + 0.2,
        Idle.BETWEEN: 0.4 + 0.5,
        Idle.END: 7.5,
    }
    assert account.work == pytest.approx(4 + 1.3 + 0.6 + 5.5)
    assert account.wall == pytest.approx(10.5)
    assert account.work + sum(account.idle.values()) == pytest.approx(2 * account.wall)


def test_the_end_counts_for_workers_that_have_ended_before() -> None:
    account = begun(2)
    run(account, 0, 100.5, 101.5, worker=1)
    run(account, 1, 100.5, 105.5)
    run(account, 2, 105.5, 105.5)
    account.event(e.WorkerEnded(worker=1, at=102.0))
    account.event(e.WorkerEnded(worker=0, at=106.5))
    assert idle(account) == {Idle.START: 1.0, Idle.END: 4.0}


@pytest.mark.parametrize("slot", [0, 1])
def test_the_time_until_a_successor_is_there_is_start_up(slot: int) -> None:
    """It has the slot of a worker that made room, and another than one that has crashed."""
    account = begun(1)
    run(account, 0, 100.5, 101.0)
    account.event(e.Started(worker=0, test=1, at=101.0))
    account.event(e.WorkerDied(worker=0, running=1, at=102.0))
    account.command(c.StartWorker(1, slot=slot), 102.1)
    account.event(e.WorkerReady(worker=1, at=102.4))
    run(account, 2, 102.4, 103.0, worker=1)
    assert idle(account) == {Idle.START: pytest.approx(0.9)}
    assert account.workers == 1


def test_lanes_wait_for_what_tests_lack() -> None:
    account = begun(2)
    account.command(c.Wait(1, "resource 'db'", (0,)), 100.6)
    account.event(e.Started(worker=0, test=0, at=100.5))
    account.event(e.Started(worker=1, test=2, at=100.5))
    account.event(e.Finished(worker=1, test=2, at=101.0))
    account.event(e.Finished(worker=0, test=0, at=103.0))
    account.command(c.Assign(1, (1,)), 103.0)
    run(account, 1, 103.0, 105.0, worker=1)
    run(account, 3, 103.0, 105.0)
    assert idle(account) == {Idle.START: 1.0, Idle.WAIT: 2.0}
    assert account.waits == {"resource 'db'": pytest.approx(2.4)}


def test_what_others_lacked_while_a_lane_was_busy_is_no_wait_of_it() -> None:
    account = begun(2)
    account.event(e.Started(worker=0, test=0, at=100.5))
    account.event(e.Started(worker=1, test=2, at=100.5))
    account.command(c.Wait(1, "resource 'db'", (0,)), 100.6)
    account.event(e.Finished(worker=0, test=0, at=102.5))
    account.command(c.Assign(0, (1,)), 102.5)
    run(account, 1, 102.5, 105.5)
    account.event(e.Finished(worker=1, test=2, at=103.5))
    assert idle(account) == {Idle.START: 1.0, Idle.END: 2.0}


def test_a_test_that_has_begun_waits_no_longer() -> None:
    """A test may be found to lack something, and be dealt, in one go: it is told in that order."""
    account = begun(2)
    account.command(c.Assign(0, (0,)), 100.5)
    account.command(c.Wait(0, "resource 'db'", (1,)), 100.5)
    run(account, 0, 100.5, 103.5)
    run(account, 1, 100.5, 101.5, worker=1)
    run(account, 2, 103.5, 103.5)
    assert idle(account) == {Idle.START: 1.0, Idle.END: 2.0}


def test_threads_wait_for_fixtures_and_beside_tests_that_run_alone() -> None:
    account = begun(1, strands=2)
    account.event(e.Started(worker=0, test=0, strand=1, at=100.5))
    account.event(e.Started(worker=0, test=1, strand=2, at=100.5))
    account.event(e.Finished(worker=0, test=0, at=102.5))
    account.event(e.Finished(worker=0, test=1, waited=1.5, at=102.5))
    run(account, 2, 102.5, 104.5)
    run(account, 3, 104.5, 105.5, strand=1)
    found = idle(account)
    assert found == {Idle.START: 1.0, Idle.FIXTURE: 1.5, Idle.ASIDE: 2.0, Idle.END: 1.0}
    assert account.work + sum(account.idle.values()) == pytest.approx(2 * account.wall)


def test_lanes_that_never_had_a_test_lacked_tests() -> None:
    account = begun(3)
    run(account, 0, 100.5, 102.5)
    run(account, 1, 100.5, 101.5, worker=1)
    assert idle(account) == {Idle.START: 1.5, Idle.FEW: 3.0}


def test_a_run_without_workers_is_accounted_for_from_its_first_test() -> None:
    account = Account({})
    account.event(e.RunStarted(run="", workers=0, mode="no", wall=0, threads=2, at=90.0))
    run(account, 0, 100.0, 102.0, strand=1)
    run(account, 1, 102.0, 103.0, strand=2)
    assert idle(account) == {Idle.END: 1.0, Idle.BETWEEN: 2.0}


# --- what is said of it ---------------------------------------------------------------------------


def said(account: Account, machine: Machine = MACHINE, advice: Advice | None = None) -> list[str]:
    account.close()
    return verdict(account, machine, advice)


def waiting() -> Advice:
    """On a run of 20 s whose tests have waited, and would take 3 s with more workers."""
    advice = Advice((Way("-n adaptive", 16),), cores=2)
    advice.event(e.RunStarted(run="", workers=2, mode="load", wall=0, at=100.0))
    for test in range(40):
        start = 100.5 + test // 2
        advice.event(e.Started(worker=test % 2, test=test, at=start))
        advice.event(e.Finished(worker=test % 2, test=test, cpu=0.05, at=start + 1))
    return advice


def busy(
    tests: int,
    seconds: float,
    *,
    workers: int = 2,
    cpu: float | None = None,
    needs: dict[int, Needs] | None = None,
) -> Account:
    """Tests that take so long each, in turn on so many workers, from 100.5 s on."""
    account = begun(workers, needs=needs)
    for test in range(tests):
        start = 100.5 + test // workers * seconds
        run(account, test, start, start + seconds, worker=test % workers, cpu=cpu)
    return account


def test_three_lines_say_what_was_gained_why_not_more_and_what_would_help() -> None:
    assert said(busy(20, 1.0, cpu=0.98)) == [
        "braid: 2 workers: 20 tests of 20 s in 10 s, up to 1.9 times as fast as one after another",
        "braid: lanes were busy for 95% of the time; idle 5% start-up of workers",
        f"braid: no order on 2 lanes is faster than 10 s; {NOTHING}",
    ]


def test_a_run_that_is_over_at_once_is_not_worth_a_line() -> None:
    assert said(busy(2, 0.1)) == []


def test_tests_that_wait_could_run_beside_more_of_them() -> None:
    (*_, limit) = said(busy(40, 1.0, cpu=0.05), advice=waiting())
    assert limit == (
        "braid: no order on 2 lanes is faster than 20 s; tests waited 95% of the time: try -n "
        "adaptive, about 3 s"
    )


def test_on_a_crowded_machine_nobody_knows_what_they_waited_for() -> None:
    crowded = MACHINE._replace(load=7.0)
    (*_, limit) = said(busy(40, 1.0, cpu=0.25), crowded, waiting())
    assert limit.endswith(NOTHING)
    (*_, limit) = said(busy(40, 1.0, cpu=0.05), crowded, waiting())
    assert "; tests waited 95% of the time: try -n adaptive" in limit


def test_cores_that_are_not_used_are_named() -> None:
    (*_, limit) = said(busy(20, 1.0, workers=1, cpu=1.0))
    assert limit == (
        "braid: no order on 1 lane is faster than 20 s; -n 2 uses all cores, about 10 s"
    )


def long_one(account: Account) -> Account:
    for test in range(10):
        run(account, test, 100.5 + test, 101.5 + test, worker=0)
    run(account, 10, 100.5, 101.5, worker=1)
    run(account, 11, 101.5, 119.5, worker=1)
    return account


def test_the_longest_test_limits_and_is_named() -> None:
    lines = said(long_one(begun(2)))
    assert lines[1] == (
        "braid: lanes were busy for 74% of the time; idle 23% at the end, when nothing was left to "
        "begin, 3% start-up of workers"
    )
    assert lines[2] == (
        "braid: no order is faster than test_a.py::test_11, 18 s; make it faster, or two of it, "
        "about 14 s"
    )


def late_one() -> Account:
    account = begun(2)
    for test in range(16):
        start = 100.5 + test // 2
        run(account, test, start, start + 1.0, worker=test % 2)
    run(account, 16, 108.5, 114.5)
    return account


def test_what_an_order_gains_is_told_where_the_next_run_knows_it() -> None:
    (*_, limit) = said(late_one(), MACHINE._replace(knows_order=False))
    assert limit == (
        "braid: no order on 2 lanes is faster than 11 s; the next run knows how long tests take, "
        "and begins with the longest, about 12 s"
    )


def test_units_that_bind_tests_are_named() -> None:
    account = Account({})
    account.units = dict.fromkeys(range(10), "test_a.py")
    account.event(e.RunStarted(run="", workers=2, mode="loadfile", wall=0, at=100.0))
    account.event(e.TestsCollected(nodeids=NODEIDS, at=100.0))
    for worker in (0, 1):
        account.command(c.StartWorker(worker), 100.0)
        account.event(e.WorkerReady(worker=worker, at=100.0))
    for test in range(10):
        run(account, test, 100.0 + test, 101.0 + test)
    run(account, 10, 100.0, 101.0, worker=1)
    (*_, limit) = said(account, MACHINE._replace(mode="loadfile"))
    assert limit == (
        "braid: no order is faster than test_a.py (10 tests), 10 s; divide it, about 5.5 s"
    )


def test_a_resource_that_binds_tests_is_named() -> None:
    db = Needs(holds=(Hold("db"),))
    account = begun(2, needs=dict.fromkeys(range(8), db))
    for test in range(8):
        run(account, test, 100.5 + test, 101.5 + test)
    run(account, 8, 100.5, 101.5, worker=1)
    (*_, limit) = said(account)
    assert limit == (
        "braid: no order is faster than resource 'db' (8 tests), 8.0 s; two of resource 'db' "
        "instead of one (braid_resources), about 4.5 s"
    )


def test_a_resource_of_which_there_are_several_binds_less() -> None:
    db = Needs(holds=(Hold("db"),))
    account = busy(8, 1.0, needs=dict.fromkeys(range(8), db))
    assert bound(account) == pytest.approx(8.0)
    several = Account({"db": 4})
    several.event(e.TestsCollected(nodeids=NODEIDS, needs={0: db, 1: db}, at=0.0))
    run(several, 0, 1.0, 2.0)
    run(several, 1, 2.0, 3.0)
    assert several.chains == {"resource 'db'": pytest.approx(0.5)}


def test_workers_that_were_not_forked_are_told() -> None:
    account = Account({})
    account.event(e.RunStarted(run="", workers=2, mode="load", wall=0, at=100.0))
    account.event(e.TestsCollected(nodeids=NODEIDS, at=100.0))
    for worker in (0, 1):
        account.command(c.StartWorker(worker), 100.0)
        account.event(e.WorkerReady(worker=worker, at=106.0))
    for test in range(4):
        run(account, test, 106.0 + test // 2, 107.0 + test // 2, worker=test % 2)
    (*_, limit) = said(account, MACHINE._replace(is_spawned=True))
    assert limit.endswith("; let workers be forked (see the header), about 2.0 s")


@pytest.mark.parametrize("tests", [(0,), range(3)])
def test_no_advice_is_worth_less_than_a_tenth(tests: Sequence[int]) -> None:
    account = begun(1)
    for test in tests:
        run(account, test, 100.5 + test, 101.5 + test, cpu=1.0)
    (*_, limit) = said(account, MACHINE._replace(cores=1))
    assert limit.endswith(f"; {NOTHING}")
