"""Threads that run tests, each with pytest's whole protocol."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple

import pytest

from pytest_braid.fixtures.gate import waits
from pytest_braid.worker.frames import traceback_of
from pytest_braid.worker.outbox import Call, outbox

_ROOM = 4096


class Job(NamedTuple):
    """A test to run: its number, in which strand, and what runs it."""

    test: int
    item: pytest.Item
    strand: int
    run: Callable[[], object]


class Over(NamedTuple):
    """A test that has been run: what it reported, and what ended its protocol, if anything did."""

    test: int
    strand: int
    reports: list[Call]
    error: BaseException | None
    cpu: float | None = None
    """Seconds that its thread has computed, if it had one, and others may have had one, too."""
    waited: float = 0.0
    """Seconds that it has waited for fixtures that others set up."""


class Pool:
    """Up to ``size`` threads, started when they are needed. A thread that has run a job asks
    ``go_on`` for its next one, so that no other has to be woken for it. Where there is none for
    now, it waits until somebody starts one.

    All but :meth:`ring` is for one thread at a time. ``bell`` is a descriptor that is readable when
    somebody has called :meth:`ring`. What jobs report is collected, and what they have computed, if
    ``collects`` says so: without, it is the process's.
    """

    def __init__(
        self, size: int, go_on: Callable[[Over], Job | None], *, collects: bool = True
    ) -> None:
        self._go_on = go_on
        self._collects = collects
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._free = list(range(size, 0, -1))
        self.has_room = bool(self._free)
        self.running: dict[int, int] = {}
        """Test to strand, numbered from 1."""
        self._identities: dict[int, int] = {}
        """Test to the identity of its thread, while it runs."""
        self.context = contextvars.copy_context()
        """Of which each job has a copy."""
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        self._is_rung = False
        # Bound here, before a test can patch the modules.
        self._write, self._read = os.write, os.read
        self._cpu, self._identity = time.thread_time, threading.get_ident

    def begin(self, test: int) -> int:
        """In which strand the test is to run."""
        strand = self.running[test] = self._free.pop()
        self.has_room = bool(self._free)
        return strand

    def end(self, test: int) -> None:
        """The test is over, and all that it has reported is told."""
        self._free.append(self.running.pop(test))
        self.has_room = True

    def start(self, job: Job) -> None:
        """Have a test run that has begun."""
        if len(self._threads) < len(self.running):
            self._add_thread()
        self._jobs.put(job)

    def _add_thread(self) -> None:
        name = f"braid-strand-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there can be no more than these, for one of which the job waits
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        job = self._next()
        while job is not None:
            job = self._go_on(self._run(job))
            if job is not None and not self._jobs.empty():  # another waits, as threads were refused
                self._jobs.put(job)
                job = None
            if job is None:
                job = self._next()

    def _next(self) -> Job | None:
        """A job, as soon as there is one; none at the end, if no thread has put a job behind it."""
        job, ends = self._jobs.get(), 0
        while job is None:
            ends += 1
            try:
                job = self._jobs.get_nowait()
            except Empty:
                ends -= 1  # this thread's own
                break
        for _ in range(ends):
            self._jobs.put(None)
        return job

    def _run(self, job: Job) -> Over:
        reports: list[Call] = []
        waited: list[float] = []
        self._identities[job.test] = self._identity()
        before = self._cpu() if self._collects else None
        error = self.context.copy().run(run, job, reports if self._collects else None, waited)
        cpu = None if before is None else self._cpu() - before
        self._identities.pop(job.test, None)
        return Over(job.test, job.strand, reports, error, cpu, sum(waited))

    def ring(self) -> None:
        """Wake the thread that waits at the bell."""
        if not self._is_rung:
            self._is_rung = True
            self._write(self._rope, b"\0")

    def hush(self) -> None:
        """The bell was heard. First it is emptied, then it may be rung again, and only then does
        anybody look at what has happened: in another order a ring could be lost."""
        with contextlib.suppress(BlockingIOError):
            self._read(self.bell, _ROOM)
        self._is_rung = False

    def interrupt(self) -> None:
        """Raise ``KeyboardInterrupt`` in every test that runs, as soon as it runs Python code."""
        for identity in list(self._identities.values()):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(identity), ctypes.py_object(KeyboardInterrupt)
            )

    def place(self) -> TracebackType | None:
        """Where the longest running test is, as if it had raised something there."""
        identity = next(iter(list(self._identities.values())), None)
        frame = sys._current_frames().get(identity or 0)  # noqa: SLF001 -- public but for its name
        if frame is None:
            return None
        frames = [each for each, _ in traceback.walk_stack(frame)]
        return traceback_of(frames[::-1])

    def close(self) -> None:
        """Let the threads end that have nothing to do."""
        for _ in self._threads:
            self._jobs.put(None)


def run(job: Job, reports: list[Call] | None, waited: list[float]) -> BaseException | None:
    """Run it in this context; what ended its protocol, if anything did."""
    outbox.set(reports)
    waits.set(waited)
    try:
        job.run()
    except BaseException as error:  # noqa: BLE001 -- whoever gave out the job raises it
        return error
    return None
