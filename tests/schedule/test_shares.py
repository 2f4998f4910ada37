"""When shared fixtures are set up and torn down: hand-made runs, and thousands of random ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from pytest_braid.model.shares import Share
from pytest_braid.schedule.shares import (
    Command,
    Free,
    Lend,
    LetGo,
    Phase,
    Settled,
    SetUp,
    Shares,
    TearDown,
)

GW0, GW1 = 0, 1


def share(key: str, *uses: str, params: str = "") -> Share:
    return Share(key, params, key, uses)


def ready(users: dict[int, list[int]], askers: Sequence[int] = ()) -> Shares:
    """One share that is set up, and two workers."""
    shares = Shares([share("a")], users, askers)
    shares.joined(GW0)
    shares.joined(GW1)
    shares.start()
    shares.set_up(0, is_up=True)
    return shares


def test_the_example_of_the_docstring() -> None:
    shares = Shares([share("a")], {0: [0, 1]})
    shares.joined(GW0)
    shares.joined(GW1)
    assert shares.start() == [SetUp(0, 0)]
    assert shares.set_up(0, is_up=True) == [Settled(0)]
    shares.began(0, GW0)
    shares.began(1, GW1)
    assert shares.borrow(GW0, 7, 0, 0) == [Lend(0, GW0, 7)]
    assert shares.borrow(GW1, 3, 0, 1) == [Lend(0, GW1, 3)]
    assert shares.give_back(GW0, 7, 8) == [LetGo(0, GW0, 8, is_last=False)]
    assert shares.over(0) == []
    assert shares.give_back(GW1, 3, 4) == [TearDown(0)]
    assert shares.torn_down(0) == [LetGo(0, GW1, 4, is_last=True), Free(0)]


def test_shares_are_set_up_one_after_another_in_the_order_of_their_tests() -> None:
    shares = Shares([share("a"), share("b"), share("c")], {0: [5, 6], 1: [2]})
    assert shares.start() == [SetUp(1, 2)]
    assert shares.set_up(1, is_up=True) == [Settled(1), SetUp(0, 5)]
    assert shares.set_up(0, is_up=True) == [Settled(0)]
    assert shares.phase(2) is Phase.UNUSED


def test_who_asks_while_it_is_set_up_is_answered_when_it_is() -> None:
    shares = Shares([share("a")], {})
    shares.joined(GW0)
    assert shares.borrow(GW0, 1, 0, 4) == [SetUp(0, 4)]
    assert shares.borrow(GW0, 2, 0, 5) == []
    assert shares.set_up(0, is_up=True) == [Settled(0), Lend(0, GW0, 1), Lend(0, GW0, 2)]


def test_what_a_running_test_waits_for_comes_first() -> None:
    shares = Shares([share("a"), share("b"), share("c")], {0: [0], 1: [1], 2: [2]})
    shares.joined(GW0)
    assert shares.start() == [SetUp(0, 0)]
    assert shares.borrow(GW0, 1, 2, 9) == []
    assert shares.set_up(0, is_up=False)[-1] == SetUp(2, 2)


def test_a_failure_is_lent_to_everyone_and_never_torn_down() -> None:
    shares = Shares([share("a")], {0: [0, 1]})
    shares.joined(GW0)
    shares.start()
    assert shares.set_up(0, is_up=False) == [Settled(0)]
    assert shares.borrow(GW0, 1, 0, 0) == [Lend(0, GW0, 1)]
    assert shares.over(0) == shares.over(1) == shares.left(GW0) == []


def test_it_stands_while_a_test_could_ask_for_it_by_name() -> None:
    shares = ready({0: [0]}, askers=[9])
    shares.began(0, GW0)
    shares.borrow(GW0, 1, 0, 0)
    assert shares.give_back(GW0, 1, 2) == [LetGo(0, GW0, 2, is_last=False)]
    assert shares.over(0) == []
    assert shares.over(9) == [TearDown(0)]


def test_one_with_parameters_cannot_be_asked_for_by_name() -> None:
    shares = Shares([share("a", params="x 1")], {0: [0]}, askers=[9])
    shares.joined(GW0)
    shares.start()
    shares.set_up(0, is_up=True)
    shares.began(0, GW0)
    shares.borrow(GW0, 1, 0, 0)
    assert shares.give_back(GW0, 1, 2) == [TearDown(0)]


def test_it_stands_while_another_is_made_from_it() -> None:
    shares = Shares([share("a"), share("b", "a")], {0: [0], 1: [1]})
    shares.joined(GW0)
    shares.start()
    shares.set_up(0, is_up=True)
    assert shares.over(0) == []
    assert shares.set_up(1, is_up=True) == [Settled(1)]
    assert shares.over(1) == [TearDown(1)]
    assert shares.torn_down(1) == [Free(1), TearDown(0)]


def test_the_last_waits_for_the_teardown_though_a_test_that_has_returned_it_is_not_over() -> None:
    shares = ready({0: [0, 1]})
    for worker in (GW0, GW1):
        shares.began(worker, worker)
        shares.borrow(worker, 7, 0, worker)
    assert shares.give_back(GW0, 7, 8) == [LetGo(0, GW0, 8, is_last=False)]
    assert shares.give_back(GW1, 7, 8) == [TearDown(0)]
    assert shares.over(0) == shares.over(1) == []
    assert shares.torn_down(0) == [LetGo(0, GW1, 8, is_last=True), Free(0)]


def test_a_test_that_runs_again_elsewhere_keeps_what_its_dead_worker_had_returned() -> None:
    shares = ready({0: [0, 1]})
    for worker in (GW0, GW1):
        shares.began(worker, worker)
        shares.borrow(worker, 7, 0, worker)
    shares.give_back(GW0, 7, 8)
    shares.left(GW0)
    assert shares.give_back(GW1, 7, 8) == [LetGo(0, GW1, 8, is_last=False)]
    shares.began(0, GW1)
    assert shares.borrow(GW1, 9, 0, 0) == [Lend(0, GW1, 9)]


def test_what_a_crashed_worker_had_is_torn_down_when_nobody_else_needs_it() -> None:
    shares = ready({0: [0]})
    shares.began(0, GW0)
    shares.borrow(GW0, 1, 0, 0)
    assert shares.left(GW0) == []  # the test may run again
    assert shares.over(0) == [TearDown(0)]


def test_a_withdrawn_question_holds_nothing() -> None:
    shares = ready({0: [0]})
    shares.began(0, GW0)
    shares.borrow(GW0, 1, 0, 0)
    shares.over(0)
    assert shares.cancel(GW0, 1) == [TearDown(0)]


def test_a_stop_drops_what_nobody_waits_for() -> None:
    shares = Shares([share("a"), share("b"), share("c")], {0: [0], 1: [1], 2: [2]})
    shares.joined(GW0)
    shares.start()
    shares.borrow(GW0, 1, 2, 2)
    shares.stop()
    assert shares.set_up(0, is_up=True) == [Settled(0), SetUp(2, 2)]
    assert shares.phase(1) is Phase.UNUSED


def test_a_setup_is_needed_while_a_test_waits_or_could_ask() -> None:
    shares = Shares([share("a")], {0: [1]}, askers=[2])
    shares.joined(GW0)
    shares.start()
    assert not shares.needs_setup()
    shares.began(2, GW0)
    assert shares.needs_setup(), "by its name"
    shares.over(2)
    assert not shares.needs_setup()
    shares.borrow(GW0, 7, 0, 3)
    assert shares.needs_setup()
    shares.set_up(0, is_up=True)
    assert not shares.needs_setup()


def test_after_a_stop_the_last_worker_tears_it_down() -> None:
    shares = ready({0: [0, 1, 2]})
    shares.borrow(GW0, 1, 0, 0)
    shares.borrow(GW1, 1, 0, 1)
    assert shares.stop() == []
    assert shares.give_back(GW0, 1, 2) == [LetGo(0, GW0, 2, is_last=False)]
    assert shares.left(GW0) == []
    assert shares.give_back(GW1, 1, 2) == [TearDown(0)]


def test_a_crash_of_the_host_is_the_end_of_what_stood_there_alone() -> None:
    shares = Shares([share("a"), share("b"), share("c")], {0: [0], 1: [1], 2: [2]})
    shares.joined(GW0)
    shares.start()
    shares.set_up(0, is_up=True)
    shares.borrow(GW0, 1, 0, 0)
    shares.borrow(GW0, 2, 1, 1)
    assert shares.host_gone() == [Settled(1), Lend(1, GW0, 2), SetUp(2, 2)]
    assert [shares.phase(n) for n in range(2)] == [Phase.FAILED] * 2
    shares.over(0)
    assert shares.give_back(GW0, 1, 3) == [LetGo(0, GW0, 3, is_last=True)]


def test_a_crash_while_it_is_torn_down_is_told_to_who_waits() -> None:
    shares = ready({0: [0]})
    shares.began(0, GW0)
    shares.borrow(GW0, 1, 0, 0)
    shares.give_back(GW0, 1, 2)
    assert shares.host_gone() == [LetGo(0, GW0, 2, is_last=True), Free(0)]


def test_a_share_is_found_among_those_of_the_test_first() -> None:
    shares = Shares([share("a", params="x 0"), share("a", params="x 1"), share("b")], {})
    assert shares.find(share("a", params="?"), (1,)) == 1
    assert shares.find(share("b"), ()) == 2
    assert shares.find(share("b", params="x 1"), ()) == 3
    assert shares.find(share("b", params="x 1"), ()) == 3
    assert shares.share(3).params == "x 1"


# --- random runs ----------------------------------------------------------------------------------


def test_a_run_that_stops_sets_nothing_up_that_was_waited_for() -> None:
    shares = Shares([share("a"), share("b")], {0: [0]}, askers=[1])
    shares.joined(GW0)
    shares.start()
    shares.began(1, GW0)
    assert shares.borrow(GW0, 7, 1, 1) == shares.stop() == shares.cancel(GW0, 7) == []
    assert shares.set_up(0, is_up=False) == [Settled(0)]
    assert shares.phase(1) is Phase.UNUSED


def test_a_run_that_stops_sets_up_what_is_waited_for() -> None:
    shares = Shares([share("a"), share("b")], {0: [0]}, askers=[1])
    shares.joined(GW0)
    shares.start()
    shares.began(1, GW0)
    assert shares.borrow(GW0, 7, 1, 1) == shares.stop() == []
    assert shares.set_up(0, is_up=False) == [Settled(0), SetUp(1, 1)]


def test_what_is_kept_stands_until_it_is_not_although_nobody_may_use_it() -> None:
    shares = ready({0: [1]})
    shares.began(1, GW0)
    shares.borrow(GW0, 7, 0, 1)
    assert shares.held_by(GW0) == {0}
    assert shares.held_by(GW1) == frozenset()
    assert shares.keep([0]) == shares.left(GW0) == shares.over(1) == shares.stop() == []
    assert shares.borrow(GW1, 3, 0, 1) == [Lend(0, GW1, 3)]
    assert shares.keep([]) == []
    assert shares.give_back(GW1, 3, 4) == [TearDown(0)]


def test_what_is_kept_no_more_is_torn_down() -> None:
    shares = ready({0: [1]})
    shares.keep([0])
    assert shares.over(1) == shares.keep([0]) == []
    assert shares.keep([]) == [TearDown(0)]


@dataclass
class SimWorker:
    number: int
    tests: list[int]
    asked: dict[int, int] = field(default_factory=dict)
    """Questions that are not answered, and their shares."""
    held: dict[int, int] = field(default_factory=dict)
    """Shares that it has, and the questions they answered."""
    returning: int | None = None
    running: int | None = None
    has_asked: bool = False
    """Whether its test has asked for something by name."""
    is_ending: bool = False
    """Whether its test, the last one, is torn down."""


class Sim:
    """Workers that run tests, a host that answers, and the rules they must see kept."""

    def __init__(self, seed: int) -> None:
        self.random = draw = random.Random(seed)
        names = "abc"[: draw.randint(1, 3)]
        made = [
            share(name, *draw.sample(names[:n], draw.randint(0, n)), params=draw.choice(["", "p"]))
            for n, name in enumerate(names)
        ]
        self.tests = draw.randint(1, 8)
        self.uses = [
            [n for n in range(len(made)) if draw.random() < 0.5] for _ in range(self.tests)
        ]
        self.askers = [test for test in range(self.tests) if draw.random() < 0.2]
        users = {
            n: [test for test in range(self.tests) if n in self.uses[test]]
            for n in range(len(made))
        }
        self.made = made
        self.shares = Shares(made, {n: tests for n, tests in users.items() if tests}, self.askers)
        order = [*range(self.tests)]
        draw.shuffle(order)
        self.workers: dict[int, SimWorker] = {}
        for number in range(draw.randint(1, 3)):
            self.join(number, [])
        for n, test in enumerate(order):
            self.workers[n % len(self.workers)].tests.append(test)
        self.settled: set[int] = set()
        self.ups = [0] * len(made)
        self.downs = [0] * len(made)
        self.live: set[int] = set()
        self.crashed: set[int] = set()
        self.order: SetUp | TearDown | None = None
        self.number = 0
        self.is_stopped = False
        self.asked: set[tuple[int, int]] = set()
        self.do(self.shares.start())

    def join(self, number: int, tests: list[int]) -> None:
        self.workers[number] = SimWorker(number, tests)
        self.shares.joined(number)

    def do(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case SetUp() | TearDown():
                    self.take_order(command)
                case Lend():
                    self.lend(command)
                case LetGo():
                    if command.worker in self.workers:
                        self.workers[command.worker].returning = None
                case Settled():
                    assert command.share not in self.settled
                    self.settled.add(command.share)
                case Free():
                    pass

    def take_order(self, order: SetUp | TearDown) -> None:
        assert self.order is None, "the host does one thing at a time"
        self.order = order
        if isinstance(order, TearDown):
            self.check_teardown(order.share)
        else:
            self.ups[order.share] += 1
            assert self.ups[order.share] == 1, "set up twice"

    def lend(self, command: Lend) -> None:
        worker = self.workers.get(command.worker)
        if worker is None:
            return
        assert worker.asked.pop(command.number) == command.share
        if self.shares.phase(command.share) is Phase.UP:
            worker.held[command.share] = command.number
        elif not self.is_stopped:
            assert command.share not in self.live
            assert not self.downs[command.share], "lent behind its teardown"

    def check_teardown(self, number: int) -> None:
        self.downs[number] += 1
        assert self.downs[number] == 1, "torn down twice"
        assert number in self.live
        assert not any(number in worker.held for worker in self.workers.values())
        key = self.made[number].key
        assert not any(key in self.made[other].uses for other in self.live - {number})
        if not self.is_stopped:
            left = {test for worker in self.workers.values() for test in worker.tests}
            assert not any(number in self.uses[test] for test in left), "a user is still to come"

    def host_answers(self) -> None:
        order, self.order = self.order, None
        if isinstance(order, SetUp):
            is_up = self.random.random() < 0.8
            if is_up:
                self.live.add(order.share)
            self.do(self.shares.set_up(order.share, is_up=is_up))
        elif isinstance(order, TearDown):
            self.live.discard(order.share)
            self.do(self.shares.torn_down(order.share))

    def host_crashes(self) -> None:
        self.order = None
        self.crashed |= self.live
        self.live.clear()
        self.do(self.shares.host_gone())

    def step(self, worker: SimWorker) -> bool:
        """Let a worker do one thing; whether it could."""
        if worker.asked or worker.returning is not None:
            return False
        if worker.running is None:
            return self.begin(worker)
        test = worker.running
        wanted = [n for n in self.uses[test] if n not in worker.held and self.is_to_ask(n, test)]
        if wanted and not worker.is_ending:
            self.ask(worker, wanted[0], test)
        elif test in self.askers and not (worker.has_asked or worker.is_ending):
            worker.has_asked = True
            plain = [n for n, each in enumerate(self.made) if not each.params]
            if plain:
                self.ask(worker, self.random.choice(plain), test)
        elif worker.held and not worker.tests:
            worker.is_ending = True
            self.give_back(worker)
        else:
            worker.running = None
            self.do(self.shares.over(test))
        return True

    def is_to_ask(self, number: int, test: int) -> bool:
        return (number, test) not in self.asked

    def ask(self, worker: SimWorker, number: int, test: int) -> None:
        self.asked.add((number, test))
        if number in worker.held:
            return
        self.number += 1
        worker.asked[self.number] = number
        self.do(self.shares.borrow(worker.number, self.number, number, test))

    def give_back(self, worker: SimWorker) -> None:
        _, borrowed = worker.held.popitem()
        self.number += 1
        worker.returning = self.number
        self.do(self.shares.give_back(worker.number, borrowed, self.number))

    def begin(self, worker: SimWorker) -> bool:
        ready = [
            test
            for test in worker.tests
            if all(number in self.settled for number in self.uses[test])
        ]
        if not ready or self.is_stopped:
            if worker.held and (self.is_stopped or not worker.tests):
                self.give_back(worker)
                return True
            if self.is_stopped or not worker.tests:
                del self.workers[worker.number]
                self.do(self.shares.left(worker.number))
                return True
            return False
        worker.running = ready[0]
        worker.tests.remove(ready[0])
        worker.has_asked = worker.is_ending = False
        self.shares.began(ready[0], worker.number)
        return True

    def crash(self, worker: SimWorker) -> None:
        del self.workers[worker.number]
        self.number += 1
        successor = 100 + self.number
        running = worker.running
        self.join(successor, worker.tests)
        self.do(self.shares.left(worker.number))
        if running is not None:
            self.do(self.shares.over(running))

    def play(self) -> None:
        for _ in range(2000):
            if not self.workers and self.order is None:
                break
            chance = self.random.random()
            if chance < 0.02 and not self.is_stopped:
                self.is_stopped = True
                self.do(self.shares.stop())
            elif chance < 0.05 and self.workers:
                self.crash(self.random.choice([*self.workers.values()]))
            elif chance < 0.06:
                self.host_crashes()
            elif chance < 0.4 and self.order is not None:
                self.host_answers()
            else:
                able = [*self.workers.values()]
                self.random.shuffle(able)
                any(self.step(worker) for worker in able)
        assert not self.workers, "workers wait for ever"
        assert self.order is None


@pytest.mark.parametrize("block", range(20))
def test_random_runs_keep_every_promise(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        sim = Sim(seed)
        sim.play()
        for number in range(len(sim.made)):
            if number in sim.live:  # left for the end of the host: nobody came to take it down
                assert sim.is_stopped or sim.ups[number] == 1
            if sim.downs[number]:
                assert sim.ups[number] == 1
