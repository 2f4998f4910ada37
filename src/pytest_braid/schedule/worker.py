"""What the scheduler knows of one worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from enum import Enum
from itertools import islice

import msgspec

BUFFER = 0.05
"""Seconds of expected work kept in a worker's queue: many times an answer of the controller."""

CAUTIOUS_BUFFER = BUFFER / 10
"""Seconds of it where no test should have begun that need not: a few answers."""

DEEPEST = 256
"""Most tests kept in a queue: enough for the fastest ones, little to take back."""

DEPTH_UNKNOWN = 2
"""Tests kept in a queue before any test has finished."""

WEIGHT = 0.25
"""Weight of the latest duration in the mean: a slow first test is forgotten after about ten."""


UNLIMITED = 1 << 60
"""More tests than any worker is given."""


class UnexpectedEventError(RuntimeError):
    """A worker did something that nothing in its queue explains; a fault of pytest-braid."""

    def __init__(
        self, worker: int, did: str, running: tuple[int, ...], queue: tuple[int, ...]
    ) -> None:
        """Tell what the worker ``did``, and what was known to run and to be queued there."""
        super().__init__(worker, did, running, queue)
        self.worker = worker
        self.did = did
        self.running = running
        self.queue = queue

    def __str__(self) -> str:
        """Say who, what, what was expected, and whose fault it is."""
        running, queued = (
            ", ".join(map(str, tests)) or "nothing" for tests in (self.running, self.queue)
        )
        return (
            f"worker gw{self.worker} {self.did}, but running there is {running} and queued"
            f" {queued}: worker and scheduler disagree. This is a fault of pytest-braid; please"
            " report it."
        )


class Question(Enum):
    """Whether the worker has asked for something to do."""

    NONE = "none"
    """It has not asked since it started a test; it will when it finds its queue empty."""

    OPEN = "open"
    """It has asked. Tests in its queue answer it, unless they are revoked before it reads them."""

    KEPT = "kept"
    """It was told that there is nothing for it now. It waits, with its session fixtures."""

    ENDED = "ended"
    """It was told that nothing is left for it. It waits, and asks no more before its next test."""


class Pace:
    """Exponentially weighted mean of durations in seconds; ``mean`` is None before the first."""

    __slots__ = ("mean",)

    def __init__(self) -> None:
        """Know nothing yet."""
        self.mean: float | None = None

    def add(self, duration: float) -> None:
        """Take in the duration of one test."""
        mean = self.mean
        self.mean = duration if mean is None else mean + WEIGHT * (duration - mean)


def ahead_for(mean: float | None, buffer: float = BUFFER, strands: int = 1) -> int:
    """How many tests of this mean duration make up the buffer; none if one exceeds it."""
    if mean is None:
        return 0
    if mean * DEEPEST <= buffer * strands:
        return DEEPEST
    return int(buffer * strands / mean)


def least_depth(strands: int) -> int:
    """Tests to keep in a queue however long they take. Of several strands each can take the next
    one at once, before the queue is filled again."""
    return 1 if strands == 1 else min(2 * strands, DEEPEST)


def depth_for(mean: float | None, strands: int = 1) -> int:
    """How many tests of this mean duration to keep in a queue."""
    least = least_depth(strands)
    return (
        max(DEPTH_UNKNOWN, least) if mean is None else max(least, ahead_for(mean, strands=strands))
    )


class Worker(msgspec.Struct, eq=False):
    """One live worker, as far as its events have arrived.

    It runs up to ``strands`` tests at once: ``running``, each with the time of its start.
    ``queue`` holds the tests assigned to it and not yet started, in order. The worker's pipe
    holds the end of it: what the worker has taken and not announced yet is missing at its front. A
    worker of several strands may start these in another order, and puts ``asides`` into another
    pipe, until nothing else runs.
    An answered :class:`~pytest_braid.model.commands.Revoke` tells how much: of ``gone`` tests at
    the front we know that they were in no pipe then and will be started by this worker.

    ``barren`` counts its predecessors, back to back, that died without an outcome. ``given`` are
    the tests assigned to it, less the revoked ones, of at most ``limit``. ``serves_line``: what it
    was given last stood in line.
    """

    number: int
    slot: int
    limit: int = UNLIMITED
    barren: int = 0
    strands: int = 1
    asides: Container[int] = ()
    given: int = 0
    serves_line: bool = False
    queue: deque[int] = msgspec.field(default_factory=deque)
    gone: int = 0
    running: dict[int, float] = msgspec.field(default_factory=dict)
    question: Question = Question.NONE
    pace: Pace = msgspec.field(default_factory=Pace)
    low: int = DEPTH_UNKNOWN // 2
    """Queue length from which on it is filled up."""

    @property
    def holds_tests(self) -> bool:
        """Whether a test runs in it, or may start without a further command."""
        return bool(self.running or self.queue)

    @property
    def idle(self) -> bool:
        """Whether it waits for a command."""
        return self.question is not Question.NONE and not self.queue

    @property
    def left(self) -> int:
        """How many tests it may still be given."""
        return self.limit - self.given

    @property
    def is_fresh(self) -> bool:
        """Whether it was given nothing so far."""
        return not self.given

    @property
    def is_at_rest(self) -> bool:
        """Whether it has asked and nothing runs: it can be ended without a loss."""
        return self.idle and not self.running

    @property
    def waits(self) -> bool:
        """Whether it has nothing to do, or has none left to do after its running test."""
        return self.idle or not self.holds_tests

    @property
    def unanswered(self) -> bool:
        """Whether it waits for the answer to a question."""
        return self.question in (Question.OPEN, Question.KEPT) and not self.queue

    @property
    def last(self) -> int | None:
        """The test behind which it begins with what it is given next; none if it runs several."""
        if self.strands > 1:
            return None
        return self.queue[-1] if self.queue else next(iter(self.running), None)

    @property
    def revocable(self) -> int:
        """How many tests are in its pipes at most."""
        return len(self.queue) - self.gone

    def spare(self, *, asides: bool = True) -> list[int]:
        """The tests of its queue that others may hope to get by revoking it, in order; without
        ``asides`` those that can begin beside others.

        A test that it takes at once is none of them: two workers that wait could else pass it to
        and fro for ever. Nor is the first of a worker that is not up yet, without which the run
        would not end sooner. One that still tears everything down after an ``End`` takes nothing
        for a while. A test that stood in line has what it needs only here.
        """
        if self.serves_line:
            return []
        if self.strands == 1:
            takes_next = self.question is Question.OPEN or not self.running
            return [*islice(self.queue, self.gone or int(takes_next), None)]
        stay = self._grasp
        asides_stay = int(not self.running) if asides else len(self.queue)
        spare: list[int] = []
        for place, test in enumerate(self.queue):
            is_aside = test in self.asides
            stays = place < self.gone or (asides_stay if is_aside else stay) > 0
            if not stays:
                spare.append(test)
            elif is_aside:
                asides_stay -= 1
            else:
                stay -= 1
        return spare

    @property
    def _grasp(self) -> int:
        """How many tests a worker of several strands takes out of its pipe at once: those that it
        starts, and as many to come."""
        return 2 * self.strands - len(self.running)

    @property
    def keeps(self) -> int:
        """How many more tests it takes at once, besides those that are in its hands."""
        if self.strands > 1:
            in_hand = sum(test not in self.asides for test in self.queue)
            return max(0, self._grasp - in_hand)
        has_next = self.queue or (self.running and self.question is not Question.OPEN)
        return int(not has_next)

    def start(self, test: int, at: float) -> None:
        """Move ``test`` from the queue to ``running``: whatever it asked before is answered."""
        if not self._may_start(test):
            raise self.unexpected(f"started test {test}")
        place = self.queue.index(test)
        del self.queue[place]
        self.running[test] = at
        self.question = Question.NONE
        if place < self.gone:
            self.gone -= 1

    def _may_start(self, test: int) -> bool:
        if self.strands == 1:
            return not self.running and bool(self.queue) and self.queue[0] == test
        return len(self.running) < self.strands and test in self.queue

    def finish(self, test: int, at: float) -> float:
        """Take note of the end of ``test``; returns its duration in seconds."""
        if test not in self.running:
            raise self.unexpected(f"finished test {test}")
        duration = max(0.0, at - self.running.pop(test))
        self.pace.add(duration)
        return duration

    def unqueue(self, tests: Sequence[int]) -> None:
        """Take ``tests`` out of the queue: revoked. What is left was in no pipe at that moment."""
        revoked = {*tests}
        left = [test for test in self.queue if test not in revoked]
        in_hand = [test for test in left if test not in self.asides]
        before = [test for test in self.queue if test not in self.asides]
        known = [test for test in islice(self.queue, self.gone) if test not in self.asides]
        is_possible = before[: len(in_hand)] == in_hand and len(in_hand) >= len(known)
        if not is_possible or [test for test in self.queue if test in revoked] != [*tests]:
            raise self.unexpected(f"had {list(tests)} revoked")
        self.queue = deque(left)
        self.gone = len(left)
        # Its pipes were emptied. An End not read yet may have gone with the tests, so the worker
        # needs another answer; if it has read that End, it waits and skips a second one.
        if self.question is Question.ENDED and self.idle:
            self.question = Question.OPEN

    def stop(self, running: Container[int]) -> None:
        """Expect no more of it than the end of what is ``running``: what it may have in its queue
        or hands will not start, and what ran when an internal error ended its session does not
        end."""
        self.running = {test: at for test, at in self.running.items() if test in running}
        self.queue.clear()
        self.gone = 0
        self.question = Question.ENDED

    def left_behind(self, culprit: int | None) -> list[int]:
        """Tests that must run elsewhere when it dies of ``culprit``, or between tests."""
        return [test for test in (*self.running, *self.queue) if test != culprit]

    def unexpected(self, did: str) -> UnexpectedEventError:
        return UnexpectedEventError(self.slot, did, tuple(self.running), tuple(self.queue))
