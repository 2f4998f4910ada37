"""Fixtures shared by the whole run: when each is set up and torn down, and who has its value."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from pytest_braid.model.shares import Share


class SetUp(NamedTuple):
    """Have the fixture host set it up, for a test that uses it."""

    share: int
    test: int


class TearDown(NamedTuple):
    """Have the fixture host tear it down."""

    share: int


class Lend(NamedTuple):
    """Answer this question of a worker with the value, or with why there is none."""

    share: int
    worker: int
    number: int


class LetGo(NamedTuple):
    """Answer this question of a worker that has returned it; ``is_last``: with its teardown."""

    share: int
    worker: int
    number: int
    is_last: bool


class Settled(NamedTuple):
    """It is set up, or will never be: tests need not wait for it any more."""

    share: int


class Free(NamedTuple):
    """Nobody needs its value any more."""

    share: int


Command = SetUp | TearDown | Lend | LetGo | Settled | Free


class Phase(Enum):
    """Where a share is in its life, which it goes through once."""

    UNUSED = "nobody has asked for it"
    BEGINNING = "it is set up, or will be as soon as the host comes to it"
    UP = "workers may have its value"
    FAILED = "its setup has failed, or its host is gone"
    ENDING = "it is torn down, or will be as soon as the host comes to it"
    OVER = "it was torn down"


class _State(msgspec.Struct, eq=False):
    phase: Phase = Phase.UNUSED
    users: set[int] = msgspec.field(default_factory=set)
    """Tests that use it and are not over, as far as is known before they run."""
    waiting: dict[tuple[int, int], int] = msgspec.field(default_factory=dict)
    """Questions (worker, number) that wait for its setup, and the tests that ask."""
    holders: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Questions that were answered with the value, and not returned yet."""
    last: tuple[int, int] | None = None
    """The question that waits for its teardown."""
    left: set[int] = msgspec.field(default_factory=set)
    """Tests whose workers have returned it in the meantime: they will not ask again."""


class Shares:
    """Decides; whoever carries out the commands tells what came of them.

    Two tests in two workers use share 0:

        start()               SetUp(0, test 0)         before a worker holds a test that needs it
        set_up(0)             Settled(0)               tests 0 and 1 may be dealt
        borrow(gw0, 7, 0)     Lend(0, gw0, 7)
        borrow(gw1, 3, 0)     Lend(0, gw1, 3)
        give_back(gw0, 7, 8)  LetGo(0, gw0, 8)         gw0 tears its session down; test 1 uses it
        over(0)               -
        give_back(gw1, 3, 4)  TearDown(0)              nobody else can come to use it
        torn_down(0)          LetGo(0, gw1, 4, last), Free(0)

    Guarantees: a share is set up once at most, and torn down once if it was set up, unless its host
    is gone; never while a worker has its value, while a test that uses it may still begin, or
    before a share that is made from it. A share without parameters can be asked for by name by any
    test in ``askers``, so it stands until these are over. The host does one thing at a time.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        users: Mapping[int, Iterable[int]],
        askers: Iterable[int] = (),
    ) -> None:
        """``users`` are the tests that use each share, in the order in which they run."""
        self._shares = [*shares]
        self._states = [_State() for _ in shares]
        self._first = {share: next(iter(tests)) for share, tests in users.items() if tests}
        for share, tests in users.items():
            self._states[share].users.update(tests)
        self._askers = {*askers}
        self._underway: dict[int, int] = {}
        """Tests that have begun and are not over, and their workers."""
        self._workers: set[int] = set()
        self._queue: deque[SetUp | TearDown] = deque()
        self._busy: int | None = None
        self._stopping = False
        self._kept: frozenset[int] = frozenset()

    # --- what is asked from outside -----------------------------------------------------------

    def find(self, share: Share, among: Collection[int]) -> int:
        """The number of a share: of the same fixture ``among`` those that a test uses as is known,
        else of the same parameters, else a new one."""
        for number in among:
            if self._shares[number].key == share.key:
                return number
        for number, each in enumerate(self._shares):
            if (each.key, each.params) == (share.key, share.params):
                return number
        self._shares.append(share)
        self._states.append(_State())
        return len(self._shares) - 1

    def share(self, number: int) -> Share:
        """What is known of it."""
        return self._shares[number]

    def phase(self, number: int) -> Phase:
        """Where it is in its life."""
        return self._states[number].phase

    def is_awaited(self, number: int) -> bool:
        """Whether a worker waits for its teardown."""
        return self._states[number].last is not None

    def a_user(self, number: int) -> int:
        """A test that it was set up for."""
        return self._first.get(number, 0)

    @property
    def busy(self) -> int | None:
        """What the host sets up or tears down now."""
        return self._busy

    @property
    def is_setting_up(self) -> bool:
        """Whether the host is in the middle of a setup."""
        return self._busy is not None and self.phase(self._busy) is Phase.BEGINNING

    def held_by(self, worker: int) -> frozenset[int]:
        """What a worker has now."""
        return frozenset(
            share
            for share, state in enumerate(self._states)
            if any(holder == worker for holder, _ in state.holders)
        )

    def needs_setup(self) -> bool:
        """Whether a running test waits for a setup, or could come to ask for one."""
        running = self._underway.keys()
        return bool(running & self._askers) or any(
            state.waiting or (state.phase is Phase.BEGINNING and running & state.users)
            for state in self._states
        )

    # --- what happens -------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """The run begins: all that is known to be used is set up, in the order of the tests."""
        for share, test in sorted(self._first.items(), key=lambda pair: (pair[1], pair[0])):
            self._begin(share, test)
        return self._next()

    def joined(self, worker: int) -> None:
        """There is another worker."""
        self._workers.add(worker)

    def began(self, test: int, worker: int) -> None:
        """A test begins."""
        self._underway[test] = worker
        for state in self._states:
            state.left.discard(test)

    def over(self, test: int) -> list[Command]:
        """A test is over, and will not run again."""
        self._underway.pop(test, None)
        self._askers.discard(test)
        if not self._states:
            return []
        for state in self._states:
            state.users.discard(test)
        return self._end_unused()

    def borrow(self, worker: int, number: int, share: int, test: int) -> list[Command]:
        """A worker asks for the value."""
        state = self._states[share]
        state.left.discard(test)
        if state.phase is Phase.UNUSED or state.phase is Phase.BEGINNING:
            state.waiting[worker, number] = test
            if state.phase is Phase.UNUSED:
                self._begin(share, test, first=True)
            else:
                self._hurry(share)
            return self._next()
        return [self._lend(share, worker, number)]

    def give_back(self, worker: int, borrowed: int, number: int) -> list[Command]:
        """A worker has no use for it any more, and asks to be told of its teardown."""
        share = self._held(worker, borrowed)
        if share is None:
            return []
        state = self._states[share]
        state.holders.discard((worker, borrowed))
        state.left |= {test for test, by in self._underway.items() if by == worker}
        is_used = self._is_used(share, worker)
        if state.phase is not Phase.UP or is_used:
            is_lost = state.phase is Phase.FAILED and not is_used  # its host is gone
            return [LetGo(share, worker, number, is_last=is_lost)]
        state.last = worker, number
        self._end(share)
        return self._next()

    def cancel(self, worker: int, number: int) -> list[Command]:
        """A worker does not wait for the answer any more, and has not taken it if there is one."""
        for state in self._states:
            state.waiting.pop((worker, number), None)
            state.holders.discard((worker, number))
            if state.last == (worker, number):
                state.last = None
        return self._end_unused()

    def left(self, worker: int) -> list[Command]:
        """The process of a worker is gone, in whatever way."""
        self._workers.discard(worker)
        for test in [test for test, by in self._underway.items() if by == worker]:
            del self._underway[test]
        for state in self._states:
            for questions in (state.waiting, state.holders):
                for question in [each for each in questions if each[0] == worker]:
                    _drop(questions, question)
            if state.last is not None and state.last[0] == worker:
                state.last = None
        return self._end_unused()

    def keep(self, shares: Iterable[int]) -> list[Command]:
        """These, and no others, are to stand although nobody may have them: a worker that cleans up
        what was made with them will ask for them."""
        kept = frozenset(shares)
        if kept == self._kept:
            return []
        self._kept = kept
        return self._end_unused()

    def stop(self) -> list[Command]:
        """No test begins any more: what nobody waits for is not set up."""
        self._stopping = True
        self._drop_unwanted()
        return self._end_unused()

    def set_up(self, share: int, *, is_up: bool) -> list[Command]:
        """What the host was told to set up is up, or has failed."""
        self._busy = None
        state = self._states[share]
        state.phase = Phase.UP if is_up else Phase.FAILED
        return [*self._settle(share), *self._end_unused(), *self._next()]

    def torn_down(self, share: int) -> list[Command]:
        """What the host was told to tear down."""
        self._busy = None
        return [*self._over(share, Phase.OVER), *self._end_unused(), *self._next()]

    def host_gone(self) -> list[Command]:
        """The process of the host has crashed, and what stood there with it."""
        commands: list[Command] = []
        for share, state in enumerate(self._states):
            if state.phase is Phase.UP:
                state.phase = Phase.FAILED
            elif state.phase is Phase.BEGINNING and share == self._busy:
                state.phase = Phase.FAILED
                commands += self._settle(share)
            elif state.phase is Phase.ENDING:
                commands += self._over(share, Phase.FAILED)
        self._busy = None
        self._queue = deque(order for order in self._queue if isinstance(order, SetUp))
        return [*commands, *self._next()]

    # --- its parts ----------------------------------------------------------------------------

    def _begin(self, share: int, test: int, *, first: bool = False) -> None:
        self._states[share].phase = Phase.BEGINNING
        order = SetUp(share, test)
        if first:
            self._queue.appendleft(order)
        else:
            self._queue.append(order)

    def _hurry(self, share: int) -> None:
        """A running test waits for it: it comes before what nobody waits for yet."""
        for order in self._queue:
            if isinstance(order, SetUp) and order.share == share:
                self._queue.remove(order)
                self._queue.appendleft(order)
                return

    def _end(self, share: int) -> None:
        self._states[share].phase = Phase.ENDING
        self._queue.append(TearDown(share))

    def _drop_unwanted(self) -> None:
        """What nobody waits for, or no more, is not set up in a run that stops."""
        left: deque[SetUp | TearDown] = deque()
        for order in self._queue:
            if isinstance(order, SetUp) and not self._states[order.share].waiting:
                self._states[order.share].phase = Phase.UNUSED
            else:
                left.append(order)
        self._queue = left

    def _next(self) -> list[Command]:
        if self._stopping:
            self._drop_unwanted()
        if self._busy is not None or not self._queue:
            return []
        order = self._queue.popleft()
        self._busy = order.share
        return [order]

    def _settle(self, share: int) -> list[Command]:
        state = self._states[share]
        waiting, state.waiting = state.waiting, {}
        return [Settled(share), *(self._lend(share, *question) for question in waiting)]

    def _lend(self, share: int, worker: int, number: int) -> Lend:
        state = self._states[share]
        if state.phase is Phase.UP:
            state.holders.add((worker, number))
        return Lend(share, worker, number)

    def _over(self, share: int, phase: Phase) -> list[Command]:
        state = self._states[share]
        state.phase = phase
        last, state.last = state.last, None
        told: list[Command] = [] if last is None else [LetGo(share, *last, is_last=True)]
        return [*told, Free(share)]

    def _held(self, worker: int, borrowed: int) -> int | None:
        question = worker, borrowed
        return next((n for n, each in enumerate(self._states) if question in each.holders), None)

    def _end_unused(self) -> list[Command]:
        """Tear down what nobody can come to use, and nobody has returned last: the worker that had
        it crashed, say."""
        for share, state in reversed([*enumerate(self._states)]):
            if state.phase is Phase.UP and not self._is_used(share, None):
                self._end(share)
        return self._next()

    def _is_used(self, share: int, by: int | None) -> bool:
        """Whether it can come to be used by others than a worker that is tearing it down."""
        state = self._states[share]
        if share in self._kept or state.holders or state.waiting or self._is_part(share):
            return True
        if self._stopping:
            return bool(self._workers - {by})
        leaving = state.left & self._underway.keys()
        may_come = state.users if self._shares[share].params else state.users | self._askers
        return not may_come <= leaving

    def _is_part(self, share: int) -> bool:
        """Whether another that is not over is made from it."""
        key = self._shares[share].key
        return any(
            key in other.uses
            and (
                state.phase in (Phase.BEGINNING, Phase.UP, Phase.ENDING)
                or (state.phase is Phase.UNUSED and state.users and not self._stopping)
            )
            for other, state in zip(self._shares, self._states, strict=True)
        )


def _drop(
    questions: dict[tuple[int, int], int] | set[tuple[int, int]], one: tuple[int, int]
) -> None:
    if isinstance(questions, dict):
        questions.pop(one, None)
    else:
        questions.discard(one)
