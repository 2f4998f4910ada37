"""Strands: many tests at once in one worker, in threads and as tasks of an event loop."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.capture.isolation import Isolation
from pytest_braid.capture.ownership import owned
from pytest_braid.fixtures.instances import Instances
from pytest_braid.fixtures.tree import SetupTree, running_item
from pytest_braid.model.limits import Limit as TimeLimit
from pytest_braid.seam import deferral, tracebacks
from pytest_braid.seam import fixtures as fixture_seam
from pytest_braid.seam.live import prints_live
from pytest_braid.wire import messages as m
from pytest_braid.wire.kit import Claim
from pytest_braid.wire.queue import FINISH, KEEP, RETIRE, QueueReader
from pytest_braid.worker.aside import is_for_all
from pytest_braid.worker.guard import Guard, Judge
from pytest_braid.worker.limit import Limit
from pytest_braid.worker.main import MainStrand
from pytest_braid.worker.outbox import Call, outbox
from pytest_braid.worker.pool import Job, Over, Pool
from pytest_braid.worker.speech import Reporter
from pytest_braid.worker.tasks import Heard, Tasks

_BRISK = 0.005
"""Seconds from one test to the next that are short."""

_OURS = Path(__file__).parents[1]

_GRACE = 0.5
"""Seconds that interrupted tests have to end, of which some may be blocked in the kernel."""


class ThreadStrands(MainStrand):
    """Takes tests from the queue and runs many of them at once: up to ``threads`` in threads, and
    up to ``tasks`` async ones as tasks of one event loop.

    The main thread deals them out, runs the event loop, and tells what tests have reported, one
    test after another. A test that steps aside (``asides`` says why) is yielded to whoever runs the
    main thread, when nothing else runs. Two threads, tests 0 to 3, of which 1 steps aside::

        queue 0 1 2 3     0 begins in strand 1, 1 is put aside, 2 begins in strand 2, 3 is planned
        0 is over         3 begins in strand 1
        queue empty       asks for more, and hears that there is nothing
        2, 3 are over     1 is yielded

    With one strand all tests run in the order of the queue, and no more than the next one is known,
    as pytest knows it.
    """

    def __init__(
        self,
        session: pytest.Session,
        queue: QueueReader,
        claim: Claim,
        reporter: Reporter,
        limit: Limit,
        *,
        threads: int,
        tasks: int,
        asides: Sequence[str | None],
        timeout: TimeLimit | None = None,
    ) -> None:
        super().__init__(session, queue, claim, reporter, limit)
        self._strands = threads + tasks
        self._asides = asides
        self._pool = Pool(threads)
        self._tasks = self._make_tasks(tasks, threads + 1, timeout) if tasks else None
        self._planned: deque[int] = deque()
        """For threads."""
        self._planned_tasks: deque[int] = deque()
        self._aside: deque[int] = deque()
        self._answer: int | None = None
        """What is not a test and was read last: there is nothing for this worker, or no more."""
        self._has_asked = False
        self._is_stopping = False
        self._is_brisk = False
        """Whether tests begin one shortly after the other."""
        self._began = 0.0
        """When the last one began."""
        self._first: set[str] = set()
        """Node ids of running tests that began when no other ran."""
        self._shows_begin = reporter.shows and (self._strands == 1 or prints_live(session.config))
        self._telling = threading.Lock()
        self._wanting = 0
        """Teardowns that wait to know what comes next."""
        self._news = threading.Condition()
        self._error: BaseException | None = None
        self._isolation = Isolation(session.config)
        self._guard = Guard(session.config) if self._strands > 1 else None
        self._why_not = fixture_seam.why_not(session) or self._isolation.why_not()
        if self._why_not is not None:
            return
        serve = None if self._tasks is None else self._tasks.serve
        self._tree = SetupTree(Instances(self._users, self._around, serve), self._expect_more)
        if self._guard is not None:
            session.config.pluginmanager.register(Judge(self._guard))
        fixture_seam.replace_setup_state(session, self._tree)
        deferral.defer(session.config, outbox.get, self._tell_begin)
        self._bell, self._either = select.poll(), select.poll()
        self._bell.register(self._pool.bell, select.POLLIN)
        for descriptor in (queue.descriptor, self._pool.bell):
            self._either.register(descriptor, select.POLLIN)

    def _make_tasks(self, count: int, first: int, timeout: TimeLimit | None) -> Tasks:
        def extended(test: int, seconds: float) -> None:
            self._reporter.speech.say(m.Extended(test, seconds))
            self._reporter.speech.flush()

        def waiting(test: int, seconds: float) -> None:
            self._reporter.speech.say_apart(m.Extended(test, seconds))

        heard = Heard(extended, waiting, self._reporter.blocked)
        return Tasks(self._session.config, count, first, timeout, heard)

    def _users(self) -> list[pytest.Item]:
        """Whose fixtures of other parameters stay: pytest, with one strand, knows of none."""
        return [] if self._strands == 1 else self._tree.users()

    # --- what the main thread does ------------------------------------------------------------

    def tests(self) -> Iterator[tuple[pytest.Item, Any]]:
        """The tests that step aside, each with a test that comes later, if one is known."""
        if self._why_not is not None:
            raise pytest.UsageError(
                f"--threads is not possible here: {self._why_not}. This version of pytest-braid "
                "knows pytest otherwise; run without --threads, or with another version of one of "
                "the two."
            )
        self._reporter.speech.say(m.Ready(self._reporter.clock(), os.getpid()))
        guard = self._guard or nullcontext()
        with tracebacks.without_frames_in(_OURS), self._isolation, guard:
            try:
                yield from self._deal()
            except (KeyboardInterrupt, pytest.exit.Exception):
                self._interrupt()
                raise
            finally:
                self._let_go()

    def _deal(self) -> Iterator[tuple[pytest.Item, Any]]:
        while self._runs or self._has_planned or self._aside or not self._is_over():
            self._tell_of_ends()
            if self._error is not None and (not self._runs or self._ends_at_once()):
                raise self._error
            if not self._is_stopping:
                self._read_queue()
                self._start_tests()
            if self._aside and not (self._has_planned or self._runs):
                yield from self._step_aside()
            elif self._runs or not (self._has_planned or self._is_over()):
                self._wait_for_news()
        self._tear_down_rest()
        self.retires = self._answer == RETIRE and not self._is_stopping

    @property
    def _runs(self) -> bool:
        return bool(self._pool.running or (self._tasks and self._tasks.running))

    @property
    def _has_planned(self) -> bool:
        return bool(self._planned or self._planned_tasks)

    def _ends_at_once(self) -> bool:
        """Whether what runs beside is not waited for, as a serial run waits for nothing then."""
        return isinstance(self._error, KeyboardInterrupt | pytest.exit.Exception)

    def _is_over(self) -> bool:
        return self._answer in (FINISH, RETIRE)

    def _start_tests(self) -> None:
        self._start_in(self._pool, self._planned)
        if self._tasks is not None:
            self._start_in(self._tasks, self._planned_tasks)

    def _start_in(self, pool: Pool | Tasks, planned: deque[int]) -> None:
        while planned and pool.has_room:
            if self._limit.is_doubtful() or self._must_stop():
                return
            self._start(pool, planned.popleft())

    def _must_stop(self) -> bool:
        """Whether nothing more is to begin here, for a reason that lies here (``-x``)."""
        session = self._session
        if not self._is_stopping and (
            session.shouldfail
            or session.shouldstop
            or self._limit.is_reached()
            or self._claim.is_forbidden()
        ):
            self._begin_to_stop()
        return self._is_stopping

    def _begin_to_stop(self) -> None:
        """What is planned here is the controller's to account for, and stays undone."""
        with self._news:
            self._is_stopping = True
            self._planned.clear()
            self._planned_tasks.clear()
            self._aside.clear()
            self._tell_news()
        self._say_stopping()

    def _start(self, pool: Pool | Tasks, test: int) -> None:
        """With one strand and short tests, the next is known before this one asks for it. A long
        one does not bind another to this worker."""
        now = self._reporter.clock()
        self._is_brisk, self._began = now - self._began < _BRISK, now
        if self._strands == 1 and self._is_brisk and not self._aside:
            self._read_ahead()
        nextitem = self._later()
        strand = pool.next_strand
        self._reporter.announce(test, strand)
        # Now: killed in between, the last one would be told as not over.
        self._claim.set(test, strand)
        item = self.items[test]
        if not self._runs:
            self._first.add(item.nodeid)
        pool.start(Job(test, item, lambda: self._run(test, strand, nextitem)))

    def _tell_begin(self, nodeid: str, tell: Call) -> bool:
        """In a strand. The line of a test is to stand above what it prints, if it is the only one;
        beside others it would be torn off from its result."""
        if not (nodeid in self._first and self._shows_begin):
            return False
        waiting = outbox.get()
        here = outbox.set(None)
        try:
            with self._telling:
                for call in waiting or ():
                    call()
                tell()
        finally:
            outbox.reset(here)
        if waiting is not None:
            waiting.clear()
        return True

    def _run(self, test: int, strand: int, nextitem: pytest.Item | None) -> None:
        """In a strand."""
        self._claim.set(test, strand, threading.get_ident())
        item = self.items[test]
        with owned(item):
            self._protect(item, nextitem)

    def _around(self, instance: Any) -> AbstractContextManager[None]:
        """What every test waits for may change the process: nothing else runs yet, or any more."""
        if self._guard is not None and is_for_all(instance.definition, self._session):
            return self._guard.permitting()
        return nullcontext()

    def _protect(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        running_item.set(item)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        finally:
            self._tree.forget(item)

    def _later(self) -> pytest.Item | None:
        """A test that comes later, if one is known: plugins ask whether there is one."""
        test = next(chain(self._planned, self._planned_tasks, self._aside), None)
        return None if test is None else self.items[test]

    def _step_aside(self) -> Iterator[tuple[pytest.Item, Any]]:
        """All that are there: meanwhile nothing is isolated."""
        with self._isolation.lifted():
            while self._aside and not self._must_stop():
                test = self._aside.popleft()
                self._reporter.begin(test)
                self._claim.set(test)
                if self._tasks is not None and self._tasks.prepare(self.items[test]):
                    run = partial(self._protect, self.items[test], self._later())
                    copy_context().run(self._tasks.hub.run, run)
                else:
                    yield from self._alone(self.items[test])
                self._end(self.items[test])

    def _alone(self, item: pytest.Item) -> Iterator[tuple[pytest.Item, Any]]:
        running_item.set(item)
        try:
            yield item, self._later()
        finally:
            running_item.set(None)
            self._tree.forget(item)

    def _end(self, item: pytest.Item, cpu: float | None = None, waited: float = 0.0) -> None:
        self._reporter.done(cpu if self._strands > 1 else None, waited)
        self._limit.note(item)
        self._left = item

    def _tell_of_ends(self) -> None:
        """What tests on strands have reported, told as if they had run here."""
        self._pool.hush()
        while (over := self._pool.take_over()) is not None:
            self._tell(over)
        while self._tasks is not None and (over := self._tasks.take_over()) is not None:
            self._tell(over)

    def _tell(self, over: Over) -> None:
        self._reporter.resume(over.test)
        with self._telling:
            for call in over.reports:
                call()
        self._first.discard(self.items[over.test].nodeid)
        if over.error is None:
            self._end(self.items[over.test], over.cpu, over.waited)
            self._reporter.speech.flush()
        elif self._error is None:
            with self._news:
                self._error = over.error
                self._is_stopping = True
                self._tell_news()

    # --- the queue ----------------------------------------------------------------------------

    def _read_queue(self) -> None:
        """Take what there is, and what can be used soon: what stays can be given to others."""
        while self._wants_tests():
            record = self._queue.read()
            if record is None:
                self._ask_once()
                return
            self._take_in(record)
            if record < 0:
                return

    def _read_ahead(self) -> None:
        """Take one more, if it is there."""
        record = self._queue.read()
        if record is not None:
            self._take_in(record)

    def _wants_tests(self) -> bool:
        if self._is_over() or self._is_stopping:
            return False
        if self._wanting:
            return not self._knows()
        if self._strands == 1:
            return not (self._has_planned or self._aside or self._runs)
        return len(self._planned) + len(self._planned_tasks) < self._strands

    def _take_in(self, record: int) -> None:
        self._has_asked = False
        with self._news:
            if record >= 0:
                self._answer = None
                self._tree.plan(self.items[record])
                self._queue_for(record).append(record)
            else:
                self._answer = record
            if record <= KEEP:  # it is for a test to come that the session's fixtures stand
                self._tree.plan(self._session)
            else:
                self._tree.forget(self._session)
            self._tell_news()

    def _queue_for(self, test: int) -> deque[int]:
        if self._asides[test]:
            return self._aside
        if self._tasks is not None and self._tasks.prepare(self.items[test]):
            return self._planned_tasks
        return self._planned

    def _ask_once(self) -> None:
        """Ask for more where something waits for it, and nothing else is left to do."""
        if self._has_asked or self._answer is not None or self._knows():
            return
        if self._wanting or self._pool.has_room or (self._tasks and self._tasks.has_room):
            self._has_asked = True
            self._reporter.speech.say(m.Asking(self._reporter.clock()))

    def _wait_for_news(self) -> None:
        """Wait until a test is over, or for the next record of the queue, if one can be used."""
        self._reporter.speech.flush()
        if self._is_stopping and not self._runs:
            self._answer = self._wait()
        elif self._wants_tests():
            self._ask_once()  # what was planned may have begun since the queue was read
            self._wait_at(self._either, self._queue.descriptor, self._pool.bell)
        else:
            self._wait_at(self._bell, self._pool.bell)

    def _wait_at(self, poll: select.poll, *descriptors: int) -> None:
        if self._tasks is None:
            poll.poll()
        else:
            self._tasks.turn(descriptors)

    def _knows(self) -> bool:
        """Whether it is known what comes next: some test, or none."""
        return bool(self._aside) or self._knows_order()

    def _knows_order(self) -> bool:
        """The same, if tests that are put aside are not counted: they come from anywhere."""
        return bool(self._has_planned or self._answer is not None or self._is_stopping)

    def _expect_more(self) -> bool:
        """In the teardown of a test that is the last known user of a node: find out whether it is
        the last indeed. Where tests are put aside, nobody says so before these have run."""
        if self._tasks is not None and self._tasks.has_turn and self._tasks.hub.is_strand():
            self._wait_in_task()
        elif threading.current_thread() is threading.main_thread():
            while not self._knows():
                self._take_in(self._queue.take(self._ask))
        else:
            self._wait_to_know()
        return self._strands == 1 or self._knows_order()

    def _wait_to_know(self) -> None:
        with self._news:
            self._wanting += 1
            self._pool.ring()
            try:
                self._news.wait_for(self._is_decided)
            finally:
                self._wanting -= 1

    def _wait_in_task(self) -> None:
        assert self._tasks is not None
        with self._news:
            self._wanting += 1
        try:
            while not self._is_decided():
                self._tasks.wait_for_news()
        finally:
            with self._news:
                self._wanting -= 1

    def _tell_news(self) -> None:
        """Those who wait for a decision look again; with the lock held."""
        self._news.notify_all()
        if self._tasks is not None:
            self._tasks.tell_news()

    def _is_decided(self) -> bool:
        return self._knows() or self._error is not None

    # --- its end ------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Whatever has ended the run: nobody waits any more for what comes next."""
        with self._news:
            self._is_stopping = True
            self._tell_news()
        self._pool.close()

    def _interrupt(self) -> None:
        """Ctrl-C, or as much from a test: what runs is interrupted, where it was is told, and what
        is blocked is left."""
        is_from_outside = self._error is None
        self._let_go()
        place = self._pool.place()  # before it unwinds
        self._pool.interrupt()
        if self._tasks is not None:
            place = place or self._tasks.place()
            self._tasks.interrupt()
        latest = _clock() + _GRACE
        while self._runs and (left := latest - _clock()) > 0:
            if self._tasks is None:
                self._bell.poll(1000 * left)
            else:
                self._tasks.turn([self._pool.bell], left)
            self._tell_of_ends()
        if is_from_outside and isinstance(self._error, KeyboardInterrupt):
            raise self._error
        if is_from_outside and place is not None:
            raise KeyboardInterrupt().with_traceback(place)


# Bound before a test can patch the module.
_clock = time.monotonic
