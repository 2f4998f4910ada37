"""Threads that run tests, each with pytest's whole protocol."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import NamedTuple

import pytest

from pytest_braid.fixtures.gate import waits
from pytest_braid.worker.outbox import Call, outbox

_ROOM = 4096


class Job(NamedTuple):
    """A test to run: its number, and what runs it."""

    test: int
    item: pytest.Item
    run: Callable[[], object]


class Over(NamedTuple):
    """A test that has been run: what it reported, and what ended its protocol, if anything did."""

    test: int
    strand: int
    reports: list[Call]
    error: BaseException | None
    cpu: float | None = None
    """Seconds that its thread has computed, if it had one."""
    waited: float = 0.0
    """Seconds that it has waited for fixtures that others set up."""


class Pool:
    """Up to ``size`` threads, started when they are needed. One thread, the same in all of its
    life, gives out jobs and hears of their ends: ``bell`` is a descriptor that is readable when
    something has happened, in a job or because somebody has called :meth:`ring`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[tuple[int, Job, contextvars.Context] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._free = list(range(size, 0, -1))
        self._over: deque[Over] = deque()
        self.running: dict[int, int] = {}
        """Test to strand, numbered from 1."""
        self._identities: dict[int, int] = {}
        """Test to the identity of its thread, while it runs."""
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        self._is_rung = False
        # Bound here, before a test can patch the modules.
        self._write, self._read = os.write, os.read
        self._cpu = time.thread_time

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    @property
    def next_strand(self) -> int:
        """In which strand the next test will run."""
        return self._free[-1]

    def start(self, job: Job) -> None:
        """Have a test run, in a copy of this thread's context."""
        strand = self._free.pop()
        self.running[job.test] = strand
        if len(self._threads) < len(self.running):
            self._add_thread()
        self._jobs.put((strand, job, contextvars.copy_context()))

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
        while (given := self._jobs.get()) is not None:
            strand, job, context = given
            reports: list[Call] = []
            waited: list[float] = []
            self._identities[job.test] = threading.get_ident()
            before = self._cpu()
            error = context.run(run, job, reports, waited)
            cpu = self._cpu() - before
            self._identities.pop(job.test, None)
            self._over.append(Over(job.test, strand, reports, error, cpu, sum(waited)))
            self.ring()

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

    def take_over(self) -> Over | None:
        """A test that is over, in the order in which they ended."""
        if not self._over:
            return None
        over = self._over.popleft()
        del self.running[over.test]
        self._free.append(over.strand)
        return over

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
        traceback: TracebackType | None = None
        while frame is not None:
            traceback = TracebackType(traceback, frame, frame.f_lasti, frame.f_lineno)
            frame = frame.f_back
        return traceback

    def close(self) -> None:
        """Let the threads end that have nothing to do."""
        for _ in self._threads:
            self._jobs.put(None)


def run(job: Job, reports: list[Call], waited: list[float]) -> BaseException | None:
    outbox.set(reports)
    waits.set(waited)
    try:
        job.run()
    except BaseException as error:  # noqa: BLE001 -- whoever gave out the job raises it
        return error
    return None
