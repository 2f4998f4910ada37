"""The processes of a run, seen from the controller: handles, descriptors, how they ended."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from enum import Enum
from typing import IO, Any, NoReturn

import pytest

from pytest_braid.seam import interpreter
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, Place, WorkerKit, ZygoteKit
from pytest_braid.wire.queue import QueueWriter

_TAIL = 4000
"""Characters of a dead process's output that a report shows: the last ones."""

_DESCRIPTORS = 16
"""Descriptors that a worker costs the controller, and its successor while both are known."""

_HEAD = 20000
"""Characters of faulthandler's dump that a report shows: the first ones, where the error is named
and the innermost frames stand."""

Live = Callable[[pytest.Config, Channel[m.ToZygote], ZygoteKit], NoReturn]


class Zygote:
    """The process that collects and forks. It is this process's only child."""

    def __init__(
        self,
        pid: int,
        channel: Channel[m.FromZygote],
        files: list[IO[bytes]],
        place: Place,
    ) -> None:
        self.pid = pid
        self.channel = channel
        self._files = files
        self._place = place
        self.status: int | None = None
        """How it ended, as ``os.waitstatus_to_exitcode`` gives it; ``None`` while it lives."""

    @classmethod
    def fork(cls, live: Live, config: pytest.Config, *, redirect: bool) -> Zygote:
        """Fork; ``live`` is called in the child.

        The heap is frozen meanwhile, in both processes.
        """
        ours, theirs = socket.socketpair()
        files, place = _files(3), Place()
        out, err, log = (file.fileno() for file in files)
        kit = ZygoteKit(out, err, log if redirect else None, place, os.getpid())
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        interpreter.flush_files()
        seeded = interpreter.seeded_random()
        is_ours_to_thaw = not gc.get_freeze_count()
        interpreter.freeze()
        pid = interpreter.fork()
        if pid == 0:
            interpreter.restore_random(seeded)
            ours.close()
            live(config, Channel(theirs, m.ToZygote), kit)
        if is_ours_to_thaw:
            config.add_cleanup(interpreter.thaw)
        theirs.close()
        return cls(pid, Channel(ours, m.FromZygote), files, place)

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
    """One worker, its descriptors (``wire.kit``), and what is known of it."""

    def __init__(self, number: int, slot: int, node: Any) -> None:
        self.number = number
        self.slot = slot
        self.node = node
        self.queue = QueueWriter()
        ours, self._theirs = socket.socketpair()
        self.channel: Channel[m.FromWorker] = Channel(ours, m.FromWorker)
        self._out, self._err, self._fault, self._shared = _files(4)
        self._claim = Claim(self._shared.fileno())
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
        kit = WorkerKit(
            self.queue.reading_end,
            self._theirs.fileno(),
            *(file.fileno() for file in (self._out, self._err, self._fault, self._shared)),
        )
        zygote.send(m.Fork(self.number, self.slot, packed), tuple(kit))
        self._theirs.close()

    def claimed(self) -> int | None:
        """The test that it was running when it was last seen alive."""
        return self._claim.get()

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


def _files(count: int) -> list[IO[bytes]]:
    """Files without a name, in memory where the kernel has such; whoever asks closes them.

    On a disk they would cost more than the fork of the worker that they are for.
    """
    if hasattr(os, "memfd_create"):
        return [os.fdopen(os.memfd_create("braid"), "w+b") for _ in range(count)]
    return [tempfile.TemporaryFile() for _ in range(count)]


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
