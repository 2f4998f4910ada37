"""Tasks that run tests, each with pytest's whole protocol, in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple

import pytest

from pytest_braid.fixtures.bridge import Greenlets, Hub, TaskStrand
from pytest_braid.fixtures.gate import current_strand
from pytest_braid.model.limits import Limit
from pytest_braid.seam.coverage import tell_greenlets_apart
from pytest_braid.seam.session import has_pytest_timeout
from pytest_braid.seam.xunit import await_async_ones
from pytest_braid.worker.asyncs import SEED_MARK
from pytest_braid.worker.frames import frames_of, traceback_of
from pytest_braid.worker.heartbeat import Heartbeat, lines_of
from pytest_braid.worker.leaks import Leaks
from pytest_braid.worker.patience import Deadline
from pytest_braid.worker.pool import Job, Over, run
from pytest_braid.worker.service import Service
from pytest_braid.worker.timeouts import timeout_of


class Running(NamedTuple):
    """A test that runs as a task."""

    task: asyncio.Task[BaseException | None]
    strand: TaskStrand[BaseException | None]
    job: Job
    deadlines: list[Deadline]


class Heard(NamedTuple):
    """Who hears of a test that is given more seconds (``waiting``: in any thread), and of one that
    has blocked the loop for so many, and where."""

    extended: Callable[[int, float], None]
    waiting: Callable[[int, float], None]
    blocked: Callable[[int, float, tuple[str, ...]], None]


class Tasks:
    """Up to ``size`` tasks, in strands numbered from ``first``. They run while :meth:`turn` does,
    in the thread that has made this."""

    def __init__(
        self,
        config: pytest.Config,
        size: int,
        first: int,
        limit: Limit | None,
        heard: Heard,
    ) -> None:
        """``limit`` is that of a test without one of its own."""
        self.hub = Hub()
        self._greenlets = Greenlets()
        """Of tests, all of which begin in a turn."""
        self._root = config.rootpath
        self._common = limit
        marked = config.pluginmanager.get_plugin("braid-cooperative")
        self._of_marked: Limit | None = getattr(marked, "limit", None)
        self._heard = heard
        self._heartbeat: Heartbeat | None = None
        self._has_marks = not has_pytest_timeout(config)
        config.pluginmanager.register(Timers(self))
        self._leaks = Leaks(config, self.hub)
        config.pluginmanager.register(self._leaks)
        config.add_cleanup(self.hub.close)
        config.add_cleanup(await_async_ones(self.hub.wait_for))
        tell_greenlets_apart()
        self._service = Service(self.hub)
        config.pluginmanager.register(self._service)
        self.serve = self._service.serve
        self.prepare = self._service.prepare
        self._news: list[asyncio.Future[None]] = []
        """Of strands that wait for a decision."""
        self._watched: frozenset[int] = frozenset()
        """Descriptors that end a turn."""
        self.hub.before_run = partial(self._watch, frozenset())
        self.has_turn = False
        self._free = list(range(first + size - 1, first - 1, -1))
        self._over: deque[Over] = deque()
        self.running: dict[int, Running] = {}
        """By their tests."""

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def begin(self, _test: int) -> int:
        """In which strand the test is to run."""
        return self._free.pop()

    def start(self, job: Job) -> None:
        """Have a test run that has begun, in a copy of this context."""
        reports: list[Callable[[], object]] = []
        waited: list[float] = []
        task, strand = self.hub.start(
            partial(run, job, reports, waited),
            copy_context(),
            name=f"test {job.test}",
            greenlets=self._greenlets,
        )
        self.running[job.test] = Running(task, strand, job, [])
        limit = self._limit_of(job.item)
        if limit is not None:
            self.limit(job.test, limit)
        task.add_done_callback(partial(self._end, job.test, reports, waited))

    def _limit_of(self, item: pytest.Item) -> Limit | None:
        seconds = timeout_of(item) if self._has_marks else None
        if seconds is not None:
            return Limit(seconds, "its mark timeout") if seconds else None
        if self._of_marked is None or item.get_closest_marker(SEED_MARK) is None:
            return self._common
        return min(filter(None, (self._common, self._of_marked)))

    def test_here(self) -> int | None:
        """The test whose code this is, if it runs as one of these tasks."""
        strand = current_strand.get()
        found = (test for test, running in self.running.items() if running.strand is strand)
        return next(found, None)

    def limit(self, test: int, limit: Limit) -> None:
        """From now on, a running test has so long."""
        running = self.running[test]
        tell = partial(self._heard.extended, test)
        deadline = Deadline(running.task, running.strand, limit, self._root, tell)
        running.deadlines.append(deadline)

    def unlimit(self, test: int) -> None:
        """What pytest-timeout has limited is over."""
        deadlines = self.running[test].deadlines
        for deadline in [each for each in deadlines if each.limit.source == _OTHER]:
            deadline.clear()
            deadlines.remove(deadline)

    def _end(
        self,
        test: int,
        reports: list[Callable[[], object]],
        waited: list[float],
        _task: asyncio.Task[BaseException | None],
    ) -> None:
        running = self.running[test]
        for deadline in running.deadlines:
            deadline.clear()
        if not running.strand.has_begun:  # another test has cancelled all there are
            del self.running[test]
            self.start(running.job)
            return
        error = running.strand.result if running.strand.is_over else asyncio.CancelledError()
        cpu = running.strand.cpu
        self._over.append(Over(test, running.job.strand, reports, error, cpu, sum(waited)))
        self._stop()

    def _stop(self) -> None:
        """Let the turn end, if there is one."""
        if self.has_turn:
            self.hub.loop.stop()

    def turn(self, descriptors: Iterable[int], seconds: float | None = None) -> None:
        """Let tasks run until one of them is over, one of the descriptors is readable, or the time
        is up."""
        if self._over:
            return
        loop, self.has_turn = self.hub.loop, True
        self._watch(frozenset(descriptors))
        timer = None if seconds is None else loop.call_later(seconds, loop.stop)
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(loop, self._test_of, self._excuse)
        self._heartbeat.go_on()
        try:
            self._run_loop()
        finally:
            self._heartbeat.pause()
            self.has_turn = False
            self._tell_of_blocks()
            if timer is not None:
                timer.cancel()

    def _watch(self, descriptors: frozenset[int]) -> None:
        """Let these end a turn. They are mostly those of the turn before, and stay: to begin and to
        end costs the kernel's work."""
        loop = self.hub.loop
        for descriptor in self._watched - descriptors:
            loop.remove_reader(descriptor)
        for descriptor in descriptors - self._watched:
            loop.add_reader(descriptor, loop.stop)
        self._watched = descriptors

    def _run_loop(self) -> None:
        """A task that a test has started may raise ``SystemExit``: whoever awaits it gets it, and
        the others go on."""
        while True:
            try:
                self.hub.loop.run_forever()
            except SystemExit:
                continue
            return

    def _test_of(self, task: asyncio.Task[Any] | None) -> int | None:
        for test, running in [*self.running.items()]:
            if task is running.task or self._leaks.owns(running.job.item, task):
                return test
        return None

    def _excuse(self, blocking: int | None) -> None:
        """In another thread: whoever waits for the loop is not to be ended for that."""
        for test, running in [*self.running.items()]:
            if test != blocking and running.deadlines:
                longest = max(deadline.limit.seconds for deadline in running.deadlines)
                self._heard.waiting(test, longest)

    def _tell_of_blocks(self) -> None:
        while self._heartbeat is not None and self._heartbeat.found:
            test, since, frames = self._heartbeat.found.popleft()
            self._heard.blocked(test, time.monotonic() - since, lines_of(frames, self._root))

    def wait_for_news(self) -> None:
        """In a strand: wait until :meth:`tell_news`, after whoever deals tests has looked."""
        future = self.hub.loop.create_future()
        self._news.append(future)
        self._stop()
        self.hub.wait_for(future)

    def tell_news(self) -> None:
        while self._news:
            future = self._news.pop()
            if not future.done():
                future.set_result(None)

    def take_over(self) -> Over | None:
        """A test that is over, in the order in which they ended."""
        if not self._over:
            return None
        over = self._over.popleft()
        del self.running[over.test]
        self._free.append(over.strand)
        return over

    def interrupt(self) -> None:
        """Raise ``KeyboardInterrupt`` in every test that runs, where it waits."""
        for running in self.running.values():
            running.strand.cancel(running.task, KeyboardInterrupt())

    def place(self) -> TracebackType | None:
        """Where the test waits that runs longest, as if it had raised something there."""
        for running in self.running.values():
            return traceback_of(frames_of(running.strand.waits_for))
        return None


_OTHER: Final = "pytest-timeout"


class Timers:
    """A plugin for pytest-timeout, which has one timer for the process: that of a test that runs as
    a task is the event loop's."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, settings: Any) -> bool | None:
        test = self._tasks.test_here()
        if test is None:
            return None
        self._tasks.limit(test, Limit(settings.timeout, _OTHER))
        return True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_cancel_timer(self) -> bool | None:
        test = self._tasks.test_here()
        if test is None:
            return None
        self._tasks.unlimit(test)
        return True
