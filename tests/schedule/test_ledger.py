"""What tests have taken, and what is left for others."""

from __future__ import annotations

import pytest

from pytest_braid.model.needs import ALONE, CPUS, PLAIN, Hold, Lack, Needs
from pytest_braid.model.tests import Mode, SchedulerSettings, TestSpec
from pytest_braid.schedule.held import Held
from pytest_braid.schedule.layout import lay_out
from pytest_braid.schedule.ledger import Ledger
from pytest_braid.schedule.line import Line, Unit
from pytest_braid.schedule.outlook import Outlook

WRITE, READ = Needs((Hold("db"),)), Needs((Hold("db", is_shared=True),))


def two_of(name: str) -> Needs:
    return Needs((Hold(name, 2),))


class TestLedger:
    def test_the_walk_in_the_docstring(self) -> None:
        ledger = Ledger({}, cpus=4)
        ledger.take((0,), WRITE)
        assert ledger.lack(WRITE) == Lack("resource 'db'", (0,))
        assert ledger.has_room(WRITE, less=0)
        ledger.take((1,), WRITE, behind=0)
        ledger.give_back(0)
        assert ledger.lack(READ) == Lack("resource 'db' to read", (1,))
        ledger.give_back(1)
        assert ledger.has_room(READ)

    def test_readers_share_and_keep_writers_out(self) -> None:
        ledger = Ledger({}, cpus=4)
        ledger.take((0,), READ)
        ledger.take((1,), READ)
        assert ledger.lack(WRITE) == Lack("resource 'db'", (0, 1))

    def test_of_a_counted_resource_there_are_several(self) -> None:
        ledger = Ledger({"db": 3}, cpus=4)
        ledger.take((0,), two_of("db"))
        assert not ledger.has_room(two_of("db"))
        ledger.take((1,), WRITE)
        assert ledger.lack(WRITE) == Lack("resource 'db'", (0, 1))

    def test_circles_keep_all_others_out(self) -> None:
        ledger = Ledger({}, cpus=4)
        ledger.take((0,), Needs(circle="x"))
        assert ledger.has_room(Needs(circle="x"))
        assert ledger.lack(PLAIN) == Lack(ALONE, (0,))
        assert ledger.lack(Needs(circle="y")) == Lack(ALONE, (0,))
        ledger.give_back(0)
        ledger.take((1,), PLAIN)
        assert ledger.lack(Needs(circle="x")) == Lack(ALONE, (1,))

    def test_a_strand_counts_once_while_it_goes_from_one_test_to_the_next(self) -> None:
        ledger = Ledger({}, cpus=4)
        ledger.take((0,), Needs(cpus=3))
        ledger.take((1,), PLAIN, behind=0)
        assert ledger.lack(Needs(cpus=2)) == Lack(CPUS, (0, 1))
        ledger.give_back(0)
        assert ledger.has_room(Needs(cpus=3))

    def test_what_is_given_back_unused_leaves_its_predecessor_as_it_was(self) -> None:
        ledger = Ledger({}, cpus=4)
        ledger.take((0,), Needs(cpus=3))
        ledger.take((1,), PLAIN, behind=0)
        ledger.give_back(1)
        assert not ledger.has_room(Needs(cpus=2))

    def test_what_is_not_free_cannot_be_taken(self) -> None:
        ledger = Ledger({}, cpus=1)
        ledger.take((0,), WRITE)
        with pytest.raises(AssertionError, match="not free"):
            ledger.take((1,), READ)


def line_of(*needs: Needs, limits: dict[str, int] | None = None) -> tuple[Line, Ledger]:
    ledger = Ledger(limits or {}, cpus=4)
    units = [Unit([test], each) for test, each in enumerate(needs)]
    return Line(units, dict(enumerate(needs)), ledger), ledger


def begin(line: Line, worker: int, behind: int | None = None) -> int | None:
    """The test that a worker begins with."""
    unit = line.find(is_fresh=False, left=9, behind=behind)
    if unit is None:
        return None
    line.bind(worker, unit)
    (test,) = line.take(worker, 1, behind)
    return test


class TestLine:
    def test_the_walk_in_the_docstring(self) -> None:
        both = Needs((Hold("a"), Hold("b")))
        a, b = Needs((Hold("a"),)), Needs((Hold("b"),))
        line, _ = line_of(a, a, both, b)
        assert begin(line, 0) == 0
        assert begin(line, 1) is None
        assert line.lacks == {
            1: Lack("resource 'a'", (0,)),
            2: Lack("resource 'a'", (1,)),
            3: Lack("resource 'b'", (2,)),
        }
        assert begin(line, 0, behind=0) == 1

    def test_who_reads_does_not_pass_who_waits_to_write(self) -> None:
        line, ledger = line_of(READ, WRITE, READ)
        assert begin(line, 0) == 0
        assert begin(line, 1) is None
        ledger.give_back(0)
        assert begin(line, 1) == 1

    def test_places_are_kept_for_who_lacks_only_those(self) -> None:
        line, ledger = line_of(Needs(cpus=2), Needs(cpus=3), WRITE)
        assert begin(line, 0) == 0
        assert begin(line, 1) is None
        assert not line.lets_pass()
        ledger.give_back(0)
        assert begin(line, 1) == 1

    def test_no_places_are_kept_while_something_else_is_lacking(self) -> None:
        wide = Needs((Hold("db"),), cpus=3)
        line, _ = line_of(WRITE, wide, Needs((Hold("other"),)))
        assert begin(line, 0) == 0
        assert begin(line, 1) == 2
        assert line.lets_pass()

    def test_nobody_passes_who_waits_to_be_alone(self) -> None:
        line, ledger = line_of(WRITE, Needs(circle="x"), Needs((Hold("other"),)))
        assert begin(line, 0) == 0
        assert begin(line, 1) is None
        assert not line.lets_pass()
        ledger.give_back(0)
        assert begin(line, 1) == 1
        assert not line.lets_pass()

    def test_a_unit_that_will_need_what_others_wait_for_does_not_begin(self) -> None:
        ledger = Ledger({}, cpus=4)
        needs = {0: WRITE, 1: WRITE, 3: WRITE}
        units = [Unit([0], WRITE), Unit([1], WRITE), Unit([3, 2], WRITE)]
        line = Line(units, needs, ledger)
        assert begin(line, 0) == 0
        assert begin(line, 1) is None, "test 2 needs nothing, but 3 needs what 1 waits for"

    def test_who_has_begun_waits_for_who_waits_longer(self) -> None:
        ledger = Ledger({}, cpus=4)
        needs = {1: WRITE, 3: WRITE}
        line = Line([Unit([1, 0], WRITE), Unit([3, 2], WRITE)], needs, ledger)
        assert (begin(line, 0), begin(line, 1)) == (0, 2)
        ledger.take((9,), WRITE)
        assert line.take(1, 1, behind=2) == line.take(0, 1, behind=0) == ()
        ledger.give_back(9)
        assert line.take(0, 1, behind=0) == ()
        assert line.take(1, 1, behind=2) == (3,)


def test_who_must_be_alone_stands_first_and_circles_in_one_piece() -> None:
    x, y = Needs(circle="x"), Needs(circle="y")
    specs = [TestSpec(n, str(n), needs=each) for n, each in enumerate((WRITE, x, y, PLAIN, x))]
    ledger = Ledger({}, cpus=1)
    laid_out = lay_out(specs, SchedulerSettings(1, Mode.LOAD), ledger, Outlook(), Held(specs))
    line, pool, _ = laid_out
    order = []
    while (test := begin(line, 0)) is not None:
        order.append(test)
        ledger.give_back(test)
    assert (order, len(pool)) == ([1, 4, 2, 0], 1)
