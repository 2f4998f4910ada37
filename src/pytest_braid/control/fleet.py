"""The processes of a run, seen from the controller: handles, descriptors, how they ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import IO, Any

from msgspec.structs import replace

from pytest_braid.control.child import Child, nameless_files
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, WorkerKit
from pytest_braid.wire.queue import QueueWriter

_TAIL = 4000
"""Characters of a dead process's output that a report shows: the last ones."""

_DESCRIPTORS = 20
"""Descriptors that a worker costs the controller, and its successor while both are known."""

_HEAD = 20000
"""Characters of faulthandler's dump that a report shows: the first ones, where the error is named
and the innermost frames stand."""


class Zygote:
    """The process that collects and forks. It is this process's only child."""

    def __init__(self, child: Child) -> None:
        self.pid = child.pid
        self.channel: Channel[m.FromZygote] = Channel(child.socket, m.FromZygote)
        self._files = child.files
        self._place = child.place
        self.status: int | None = None
        """How it ended, as ``os.waitstatus_to_exitcode`` gives it; ``None`` while it lives."""

    def send(self, message: m.ToZygote, descriptors: tuple[int, ...] = ()) -> None:
        """Send, unless it is dead: its end is noticed where its messages are read."""
        with contextlib.suppress(OSError):
            self.channel.send(message, descriptors)

    def interrupt(self, workers: Iterable[int]) -> None:
        """Send SIGINT to these workers."""
        for number in workers:
            self.send(m.Signal(number, signal.SIGINT, group=False))

    def signal(self, signum: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def wait(self) -> int:
        """Reap it, waiting for its end."""
        if self.status is None:
            try:
                _, status = os.waitpid(self.pid, 0)
            except ChildProcessError:  # a plugin ignores SIGCHLD, and the kernel has reaped it
                status = 0
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def abandon(self) -> None:
        """Kill it if nobody has ended it: pytest's session never began, because a plugin answered
        ``pytest_cmdline_main`` itself."""
        if self.status is None:
            self.signal(signal.SIGKILL)
            self.wait()
            self.close()

    def place(self) -> str:
        """The node id of what it began to collect last."""
        return self._place.get()

    def printed(self) -> str:
        """What it printed last, captured or not, and faulthandler's dump."""
        return "\n".join(filter(None, (_tail(file, _HEAD) for file in self._files)))

    def close(self) -> None:
        self.channel.close()
        self._place.close()
        for file in self._files:
            file.close()


class Duty(Enum):
    """What a worker was told to do last."""

    TESTS = "run tests"
    FINISHING = "end the session of its slot"
    RETIRING = "end, and leave the session to a successor"
    RETIRED = "it has done so, and its process ends"


class Worker:
    """One worker, its descriptors (``wire.kit``), and what is known of it.

    It knows ``tests`` tests by their numbers in the collection. Where it runs another copy of the
    collection than the first (``--dist each``), the controller's numbers are higher, and here is
    where the one is made of the other.
    """

    def __init__(self, number: int, slot: int, node: Any, tests: int, *, is_live: bool) -> None:
        self.number = number
        self.slot = slot
        self.node = node
        self._tests = tests
        self._first = 0
        """The controller's number of the first test in the copy that it runs."""
        self.queue = QueueWriter()
        ours, self._theirs = socket.socketpair()
        self.channel: Channel[m.FromWorker] = Channel(ours, m.FromWorker)
        self._out, self._err, self._fault, self._shared = nameless_files(4)
        self._claim = Claim(self._shared.fileno())
        self.mark = os.urandom(16) if is_live else b""
        """What it prints with each report (``worker.live``)."""
        pipes = [os.pipe() for _ in range(2)] if is_live else []
        self.printed = [reading for reading, _ in pipes]
        """Where its live output is read: of stdout, of stderr. Whoever reads closes them."""
        self._printing = tuple(writing for _, writing in pipes)
        self.queued = 0
        """Tests given to it that it has not begun."""
        self.last_test: int | None = None
        self.since = 0.0
        """When that test began, in seconds of the monotonic clock."""
        self.is_decided = False
        """Whether that test has its outcome, and only its teardown is to come."""
        self.duty = Duty.TESTS

    @property
    def name(self) -> str:
        return f"gw{self.slot}"

    def fork(self, zygote: Zygote, packed: bytes) -> None:
        files = (self._out, self._err, self._fault, self._shared)
        kit = WorkerKit(
            self.queue.reading_end,
            self._theirs.fileno(),
            *(file.fileno() for file in files),
            *self._printing,
        )
        zygote.send(m.Fork(self.number, self.slot, packed, self.mark), kit.descriptors())
        self._theirs.close()
        for descriptor in self._printing:
            os.close(descriptor)

    def assign(self, tests: Sequence[int]) -> None:
        """Append tests, all of one copy of the collection, to its queue."""
        self._first = tests[0] - tests[0] % self._tests
        self.queued += len(tests)
        self.queue.put(test - self._first for test in tests)

    def take_back(self) -> tuple[int, ...]:
        """Empty its queue: the tests that it has not seen."""
        tests = tuple(self._first + test for test in self.queue.take_back())
        self.queued -= len(tests)
        return tests

    def said(self) -> Iterable[m.FromWorker]:
        """The messages that have arrived from it, without waiting."""
        messages = self.channel.waiting()
        return map(self._renumbered, messages) if self._first else messages

    def _renumbered(self, message: m.FromWorker) -> m.FromWorker:
        test: int | None = getattr(message, "test", None)
        return message if test is None else replace(message, test=self._first + test)

    def claimed(self) -> int | None:
        """The test that it was running when it was last seen alive."""
        test = self._claim.get()
        return None if test is None else self._first + test

    def last_words(self) -> list[tuple[str, str]]:
        """Report sections: what its running phase had printed, and faulthandler's dump."""
        sections = [
            ("Captured stdout", _tail(self._out, _TAIL)),
            ("Captured stderr", _tail(self._err, _TAIL)),
            ("Fatal error (faulthandler)", own_frames(_head(self._fault, _HEAD))),
        ]
        return [(title, text) for title, text in sections if text]

    def close(self) -> None:
        self.channel.close()
        self.queue.close()
        self._claim.close()
        for file in (self._out, self._err, self._fault, self._shared):
            file.close()


def own_frames(dump: str) -> str:
    """Faulthandler's dump without the frames of pytest that have called the test: innermost frames
    come first, and from pytest's call of the test on they are the same in every dump."""
    lines: list[str] = []
    is_outside = False
    for line in dump.splitlines():
        is_frame = line.startswith("  File ")
        if is_frame and "/_pytest/python.py" in line and not is_outside:
            lines.append("  ... (called by pytest)")
        is_outside = is_frame and (is_outside or "/_pytest/python.py" in line)
        if not is_outside:
            lines.append(line)
    return "\n".join(lines)


def _head(file: IO[bytes], length: int) -> str:
    return os.pread(file.fileno(), length, 0).decode(errors="replace")


def _tail(file: IO[bytes], length: int) -> str:
    size = os.fstat(file.fileno()).st_size
    data = os.pread(file.fileno(), 4 * length, max(0, size - 4 * length))
    return data.decode(errors="replace")[-length:]


def make_room(workers: int) -> None:
    """Raise this process's own limit of open files, if the descriptors of so many workers would
    not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 128 + _DESCRIPTORS * workers
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def describe_end(status: int) -> str:
    """In words: how a process ended that nobody had told to."""
    if status >= 0:
        return f"its process ended with exit code {status}"
    number = -status
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = (
        "; often the kernel sends it, because memory has run out"
        if number == signal.SIGKILL
        else ""
    )
    return f"its process was killed by signal {number} ({name}{hint})"
