"""Strands: many tests at once in one worker, in threads and as tasks of an event loop."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from pytest_braid.worker.pace import Pace
from pytest_braid.worker.pool import Job, Over, Pool
from pytest_braid.worker.speech import Reporter

if TYPE_CHECKING:
    from pytest_braid.worker.tasks import Tasks

_BRISK = 0.005
"""Seconds from one test to the next that are short."""

_OURS = Path(__file__).parents[1]

_LAST = (FINISH, RETIRE)
"""Answers after which nothing comes any more."""

_AT_ONCE = (KeyboardInterrupt, pytest.exit.Exception)
"""Where a serial run waits for nothing."""

_GRACE = 0.5
"""Seconds that interrupted tests have to end, of which some may be blocked in the kernel."""


class ThreadStrands(MainStrand):
    """Takes tests from the queue and runs many of them at once: up to ``threads`` in threads, and
    up to ``tasks`` async ones as tasks of one event loop.

    A thread whose test is over tells what it has reported, and takes its next test by itself, one
    thread after another. The main thread waits where there is no next test for now, and runs the
    event loop. A test that steps aside (``asides`` says why) is yielded to whoever runs the main
    thread, when nothing else runs. Two threads, tests 0 to 3, of which 1 steps aside::

        queue 0 1 2 3     0 begins in strand 1, 1 is put aside, 2 begins in strand 2, 3 is planned
        0 is over         its thread begins 3
        2 is over         its thread asks for more, and rings for the main thread
        3 is over         its thread rings
        nothing comes     1 is yielded

    With tasks, the main thread deals out all tests. It tells what they have reported where a plugin
    hears of it that may expect this thread.

    With one strand all tests run in the order of the queue, and no more than the next one is known,
    as pytest knows it. Then nothing runs beside a test, if none ``nests`` others in itself: nothing
    is isolated, and what it reports is told at once.
    """

    _looks_again = False
    """Whether the main thread waits no longer than the pace says."""
    _has_left = False
    """Whether nothing is told any more of what runs."""

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
        nests: bool = False,
    ) -> None:
        super().__init__(session, queue, claim, reporter, limit)
        self._strands = threads + tasks
        self._asides = asides
        is_alone = self._strands == 1 and not tasks and not nests
        self._main_deals = bool(tasks) or deferral.has_listeners(session.config)
        self._tells_at_once = is_alone and not self._main_deals
        self._pool = Pool(threads, self._go_on, collects=not self._tells_at_once)
        self._over: deque[Over] = deque()
        """Tests of threads, of which the main thread is to tell."""
        self._tasks = self._make_tasks(tasks, threads + 1, timeout) if tasks else None
        self._planned: deque[int] = deque()
        """For threads."""
        self._planned_tasks: deque[int] = deque()
        self._aside: dict[int, None] = {}
        """Put aside (a set that keeps its order). Others may have been given them meanwhile."""
        self._answer: int | None = None
        """What is not a test and was read last: there is nothing for this worker, or no more."""
        self._keeps_session = False
        self._has_asked = False
        self._is_stopping = False
        self._pace = Pace()
        self._is_brisk = False
        """Whether tests begin one shortly after the other."""
        self._began = 0.0
        """When the last one began."""
        self._first: set[str] = set()
        """Node ids of running tests that began when no other ran."""
        self._shows_begin = (
            not self._tells_at_once
            and reporter.shows
            and (self._strands == 1 or prints_live(session.config))
        )
        self._wanting = 0
        """Teardowns that wait to know what comes next."""
        self._turn = threading.RLock()
        self._news = threading.Condition(self._turn)
        """Held by the thread that deals with something; told when it is known what comes next."""
        self._error: BaseException | None = None
        self._ends_at_once = False
        """Whether what runs beside the error is not waited for."""
        self._isolation = None if is_alone else Isolation(session.config)
        self._guard = Guard(session.config) if self._strands > 1 else None
        why_not = fixture_seam.why_not(session)
        self._why_not = why_not or (self._isolation and self._isolation.why_not())
        if self._why_not is not None:
            return
        serve = None if self._tasks is None else self._tasks.serve
        self._tree = SetupTree(Instances(self._users, self._around, serve), self._expect_more)
        if self._guard is not None:
            self._let_judge(self._guard)
        fixture_seam.replace_setup_state(session, self._tree)
        if not self._tells_at_once:
            deferral.defer(session.config, outbox.get, self._tell_begin)
        self._bell = _poll_of(self._pool.bell)
        self._either = _poll_of(self._pool.bell, queue.descriptor)

    def _make_tasks(self, count: int, first: int, timeout: TimeLimit | None) -> Tasks:
        from pytest_braid.worker.tasks import Heard, Tasks  # and with it asyncio

        def extended(test: int, seconds: float) -> None:
            self._reporter.speech.say(m.Extended(test, seconds))
            self._reporter.speech.flush()

        def waiting(test: int, seconds: float) -> None:
            self._reporter.speech.say_apart(m.Extended(test, seconds))

        self._reporter.first_task = first
        heard = Heard(extended, waiting, self._reporter.blocked)
        return Tasks(self._session.config, count, first, timeout, heard)

    def _let_judge(self, guard: Guard) -> None:
        self._session.config.pluginmanager.register(Judge(guard))
        self._reporter.judge = guard.judge

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
        isolation, guard = self._isolation or nullcontext(), self._guard or nullcontext()
        with tracebacks.without_frames_in(_OURS), isolation, guard:
            try:
                yield from self._deal()
            except (KeyboardInterrupt, pytest.exit.Exception):
                self._interrupt()
                raise
            finally:
                self._let_go()
                with self._news_or_not():
                    self._has_left = True

    def _deal(self) -> Iterator[tuple[pytest.Item, Any]]:
        while self._goes_on():
            self._start_tests()
            if self._is_quiet():
                yield from self._step_aside()
            elif self._goes_on():
                self._wait_for_news()
        self._tear_down_rest()
        self.retires = self._answer == RETIRE and not self._is_stopping

    def _goes_on(self) -> bool:
        with self._news:
            has_more = self._has_planned or self._aside or self._runs or self._error
            return bool(has_more) or not self._is_over()

    def _start_tests(self) -> None:
        self._pool.hush()
        with self._news:
            self._tell_of_ends()
            if self._error is not None and (not self._runs or self._ends_at_once):
                raise self._error
            self._pool.context = copy_context()
            self._pace.look(self._reporter.clock())
            for pool, job in self._next_jobs():
                pool.start(job)

    def _go_on(self, over: Over) -> Job | None:
        """In a thread of the pool, whose test is over: tell what it has reported, as if it had run
        alone, and find what the thread is to run next."""
        if self._main_deals:
            self._over.append(over)
            self._pool.ring()
            return None
        job: Job | None = None
        with self._turn:
            if self._has_left:
                return None
            try:
                self._tell(over)
                self._free(over)
                jobs = iter(self._next_jobs())
                _, job = next(jobs, (None, None))
                for pool, other in jobs:
                    pool.start(other)
            except BaseException as error:  # noqa: BLE001 -- the main thread raises it
                self._fail(error, at_once=True)
            if job is None or self._error is not None or self._main_has_work():
                self._pool.ring()
            if job is None:
                self._reporter.speech.flush()
        return job

    def _main_has_work(self) -> bool:
        """Whether the main thread, if it waits, waits for too much."""
        is_due = self._is_due(self._pool, self._planned)
        return self._can_use_more() or (is_due and not self._looks_again)

    def _is_quiet(self) -> bool:
        """Whether tests are to step aside now."""
        with self._news:
            return bool(self._aside) and not (self._has_planned or self._runs)

    @property
    def _runs(self) -> bool:
        return bool(self._pool.running or (self._tasks and self._tasks.running))

    @property
    def _has_planned(self) -> bool:
        return bool(self._planned or self._planned_tasks)

    def _is_over(self) -> bool:
        return self._answer in _LAST

    def _next_jobs(self) -> Iterator[tuple[Pool | Tasks, Job]]:
        """The tests that begin now, each with where."""
        if not self._is_stopping:
            self._read_queue()
        yield from self._next_in(self._pool, self._planned)
        if self._tasks is not None:
            yield from self._next_in(self._tasks, self._planned_tasks)
        if self._can_use_more():
            self._ask_once()

    def _next_in(
        self, pool: Pool | Tasks, planned: deque[int]
    ) -> Iterator[tuple[Pool | Tasks, Job]]:
        while self._is_due(pool, planned) and self._has_pace_for(pool) and not self._must_stop():
            if self._limit.is_doubtful():
                return
            yield pool, self._begin_job(pool, planned.popleft())

    def _is_due(self, pool: Pool | Tasks, planned: deque[int]) -> bool:
        """Whether a test is planned, and could run in a strand."""
        return bool(planned) and pool.has_room

    def _has_pace_for(self, pool: Pool | Tasks) -> bool:
        return pool is self._tasks or self._pace.has_room(self._reporter.clock())

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

    def _begin_job(self, pool: Pool | Tasks, test: int) -> Job:
        """With one strand and short tests, the next is known before this one asks for it. A long
        one does not bind another to this worker."""
        now = self._reporter.clock()
        self._is_brisk, self._began = now - self._began < _BRISK, now
        if self._strands == 1 and self._is_brisk and not self._aside:
            self._read_ahead()
        nextitem = self._later()
        is_alone = not self._runs
        strand = pool.begin(test)
        if pool is self._pool:
            self._pace.begin(test, now)
        if self._tells_at_once:
            self._reporter.begin(test, strand)
        else:
            self._reporter.announce(test, strand)
        # Now: killed in between, the last one would be told as not over.
        self._claim.set(test, strand)
        item = self.items[test]
        if is_alone and self._shows_begin:
            self._first.add(item.nodeid)
        return Job(test, item, strand, partial(self._run, test, strand, nextitem))

    def _tell_begin(self, nodeid: str, tell: Call) -> bool:
        """In a strand. The line of a test is to stand above what it prints, if it is the only one;
        beside others it would be torn off from its result."""
        if nodeid not in self._first:
            return False
        waiting = outbox.get()
        here = outbox.set(None)
        try:
            with self._news:
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
        if self._isolation is None:
            self._protect(item, nextitem)
        else:
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
        with nullcontext() if self._isolation is None else self._isolation.lifted():
            while (test := self._next_aside()) is not None:
                self._reporter.begin(test)
                self._claim.set(test)
                if self._tasks is not None and self._tasks.prepare(self.items[test]):
                    run = partial(self._protect, self.items[test], self._later())
                    copy_context().run(self._tasks.hub.run, run)
                else:
                    yield from self._alone(self.items[test])
                self._end(self.items[test])

    def _next_aside(self) -> int | None:
        test = None if self._must_stop() else self._queue.take_aside()
        while self._aside:
            first = next(iter(self._aside))
            del self._aside[first]
            if first == test:
                break
            self._tree.give_up(self.items[first])  # it was revoked
        return test

    def _alone(self, item: pytest.Item) -> Iterator[tuple[pytest.Item, Any]]:
        running_item.set(item)
        if self._tasks is not None:  # it may run the event loop
            self._tasks.hub.before_run()
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
        while self._over:
            over = self._over.popleft()
            self._free(over)
            self._tell(over)
        while self._tasks is not None and (ended := self._tasks.take_over()) is not None:
            self._tell(ended)

    def _free(self, over: Over) -> None:
        self._pool.end(over.test)
        self._pace.end(over.test, self._reporter.clock())

    def _tell(self, over: Over) -> None:
        if not self._tells_at_once:
            self._reporter.resume(over.test)
            for call in over.reports:
                call()
            if self._first:
                self._first.discard(self.items[over.test].nodeid)
        if over.error is None:
            self._end(self.items[over.test], over.cpu, over.waited)
        else:
            self._fail(over.error, at_once=isinstance(over.error, _AT_ONCE))

    def _fail(self, error: BaseException, *, at_once: bool) -> None:
        """It ends the run: the main thread raises it."""
        with self._news:
            if self._error is None:
                self._error, self._ends_at_once = error, at_once
                self._is_stopping = True
                self._tell_news()

    # --- the queue ----------------------------------------------------------------------------

    def _read_queue(self) -> None:
        """Take what there is, and what can be used soon: what stays can be given to others."""
        while self._wants_tests():
            record = self._queue.read()
            if record is None:
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
            return not (self._runs or self._has_planned or self._aside)
        return len(self._planned) + len(self._planned_tasks) < self._strands

    def _can_use_more(self) -> bool:
        """Whether something waits for what comes next in the queue."""
        is_of_use = (
            self._wanting
            or (self._pool.has_room and not self._planned)
            or (self._tasks and self._tasks.has_room and not self._planned_tasks)
        )
        return bool(is_of_use) and self._wants_tests()

    def _take_in(self, record: int) -> None:
        self._has_asked = False
        with self._turn:
            if record >= 0:
                self._answer = None
                self._tree.plan(self.items[record])
                self._plan(record)
            else:
                self._answer = record
            if record <= KEEP:  # it is for a test to come that the session's fixtures stand
                self._tree.plan(self._session)
                self._keeps_session = True
            elif self._keeps_session:
                self._tree.forget(self._session)
                self._keeps_session = False
            self._tell_news()

    def _plan(self, test: int) -> None:
        if self._asides[test]:
            self._aside.pop(test, None)  # it was revoked, and comes back
            self._aside[test] = None
            self._queue.put_aside(test)
        elif self._tasks is not None and self._tasks.prepare(self.items[test]):
            self._planned_tasks.append(test)
        else:
            self._planned.append(test)

    def _ask_once(self) -> None:
        """Ask for more where nothing else is left to do."""
        if not (self._has_asked or self._answer is not None or self._knows()):
            self._has_asked = True
            self._reporter.speech.say(m.Asking(self._reporter.clock()))

    def _wait_for_news(self) -> None:
        """Wait until a thread rings, or for the next record of the queue, if one can be used."""
        with self._news:
            self._reporter.speech.flush()
            can_use_more = self._can_use_more()
            is_left = self._is_stopping and not self._runs and self._error is None
            self._looks_again = self._is_due(self._pool, self._planned)
        seconds = self._pace.pause() if self._looks_again else None
        if is_left:
            self._answer = self._wait()
        elif can_use_more:
            self._wait_at(self._either, seconds, self._queue.descriptor, self._pool.bell)
        else:
            self._wait_at(self._bell, seconds, self._pool.bell)

    def _wait_at(self, poll: select.poll, seconds: float | None, *descriptors: int) -> None:
        if self._tasks is not None:
            self._tasks.turn(descriptors, seconds)
        else:
            poll.poll(None if seconds is None else 1000 * seconds)

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
            try:
                if not self._main_deals:
                    self._read_queue()
                if not self._is_decided() or self._main_has_work():
                    self._pool.ring()
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
        if self._wanting:
            self._news.notify_all()
        if self._tasks is not None:
            self._tasks.tell_news()

    def _is_decided(self) -> bool:
        return self._knows() or self._error is not None

    # --- its end ------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Whatever has ended the run: nobody waits any more for what comes next."""
        with self._news_or_not() as is_held:
            self._is_stopping = True
            if is_held:
                self._tell_news()
        self._pool.close()

    @contextmanager
    def _news_or_not(self) -> Iterator[bool]:
        """Whoever holds the lock may hang, in a hook of a plugin or where it writes to."""
        is_held = self._news.acquire(timeout=_GRACE)
        try:
            yield is_held
        finally:
            if is_held:
                self._news.release()

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
            self._pool.hush()
            with self._news_or_not() as is_held:
                if is_held:
                    self._tell_of_ends()
        if is_from_outside and isinstance(self._error, KeyboardInterrupt):
            raise self._error
        if is_from_outside and place is not None:
            raise KeyboardInterrupt().with_traceback(place)


def _poll_of(*descriptors: int) -> select.poll:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return poll


# Bound before a test can patch the module.
_clock = time.monotonic
