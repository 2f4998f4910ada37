"""Tasks that run tests, each with pytest's whole protocol, in one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

import pytest

from pytest_braid.fixtures.bridge import Hub, TaskStrand
from pytest_braid.seam.coverage import tell_greenlets_apart
from pytest_braid.seam.xunit import await_async_ones
from pytest_braid.worker.pool import Job, Over, run
from pytest_braid.worker.service import Service


class Running(NamedTuple):
    """A test that runs as a task."""

    number: int
    """Of its strand."""
    task: asyncio.Task[BaseException | None]
    strand: TaskStrand[BaseException | None]


class Tasks:
    """Up to ``size`` tasks, in strands numbered from ``first``. They run while :meth:`turn` does,
    in the thread that has made this."""

    def __init__(self, config: pytest.Config, size: int, first: int) -> None:
        self.hub = Hub()
        config.add_cleanup(self.hub.close)
        config.add_cleanup(await_async_ones(self.hub.wait_for))
        tell_greenlets_apart()
        self._service = Service(self.hub)
        config.pluginmanager.register(self._service)
        self.serve = self._service.serve
        self.prepare = self._service.prepare
        self._news: list[asyncio.Future[None]] = []
        """Of strands that wait for a decision."""
        self.has_turn = False
        self._free = list(range(first + size - 1, first - 1, -1))
        self._over: deque[Over] = deque()
        self.running: dict[int, Running] = {}
        """By their tests."""

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    @property
    def next_strand(self) -> int:
        return self._free[-1]

    def start(self, job: Job) -> None:
        """Have a test run, in a copy of this context."""
        number = self._free.pop()
        reports: list[Callable[[], object]] = []
        task, strand = self.hub.start(
            partial(run, job, reports), copy_context(), name=f"test {job.test}"
        )
        self.running[job.test] = Running(number, task, strand)
        task.add_done_callback(partial(self._end, job.test, reports))

    def _end(
        self,
        test: int,
        reports: list[Callable[[], object]],
        task: asyncio.Task[BaseException | None],
    ) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        self._over.append(Over(test, self.running[test].number, reports, error))
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
        watched = [*descriptors]
        for descriptor in watched:
            loop.add_reader(descriptor, loop.stop)
        timer = None if seconds is None else loop.call_later(seconds, loop.stop)
        try:
            loop.run_forever()
        finally:
            self.has_turn = False
            if timer is not None:
                timer.cancel()
            for descriptor in watched:
                loop.remove_reader(descriptor)

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
            running.strand.reason = KeyboardInterrupt()
            running.task.cancel()

    def place(self) -> TracebackType | None:
        """Where the test waits that runs longest, as if it had raised something there."""
        for running in self.running.values():
            return place_of(running.strand.awaited)
        return None


def place_of(awaited: Any) -> TracebackType | None:
    """The frames in which something waits that is awaited, as a traceback."""
    frames = []
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                frames.append(frame)
                awaited = getattr(awaited, f"{kind}_await", None)
                break
        else:
            break
    traceback: TracebackType | None = None
    for frame in reversed(frames):
        traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno)
    return traceback
