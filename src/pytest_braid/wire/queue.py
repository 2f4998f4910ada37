"""A worker's local queue: a pipe of test indices, kept by the kernel.

The controller writes, the worker reads one index when it needs one, and the controller, which
keeps the reading end too, takes back what the worker has not read. The kernel hands each record to
exactly one reader, so a test can be revoked while the worker is busy, without asking it and
without a thread in it. Records are four bytes, written whole (POSIX: a write of up to PIPE_BUF
bytes is atomic) and, being aligned in the pipe's pages, read whole.

A worker of several strands reads on, past tests that have to wait until nothing else runs there. It
puts these into a second pipe, out of which they can be revoked as well.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable, Iterable
from functools import partial

END = -1
"""Nothing more is meant for this worker: tear everything down."""

FINISH = -2
"""The run is over."""

RETIRE = -3
"""Make room for a successor. Read only where the worker waits with nothing running."""

KEEP = -4
"""Nothing for this worker now: tear down all that is not of the session."""

_SIZE = 4


def keep_for(test: int | None) -> int:
    """The record that says: nothing now; tear down all that this test does not need."""
    return KEEP if test is None else KEEP - 1 - test


def kept_for(record: int) -> int | None:
    """The test of such a record."""
    return None if record == KEEP else KEEP - 1 - record


class QueueReader:
    """The worker's end. ``asides`` are both ends of the second pipe."""

    def __init__(self, descriptor: int, asides: tuple[int, int]) -> None:
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        # Bound here, before a test can patch the modules: it is read inside of teardowns.
        self._wait_readable = poll.poll
        self._read_some = partial(os.read, descriptor, _SIZE)
        reading, writing = asides
        self._read_aside = partial(os.read, reading, _SIZE)
        self._write_aside = partial(os.write, writing)

    def take(self, ask: Callable[[], None]) -> int:
        """The next record, waiting for it; ``ask`` is called once if the queue is empty.

        Raises:
            EOFError: the controller is gone.
        """
        record = self.read()
        if record is not None:
            return record
        ask()
        return self.wait()

    def wait(self) -> int:
        """The next record, waiting for it without asking. A record can be revoked between the
        wake-up and the read: then the wait goes on."""
        while True:
            self._wait_readable()
            record = self.read()
            if record is not None:
                return record

    def read(self) -> int | None:
        """The next record, if there is one now."""
        try:
            data = self._read_some()
        except BlockingIOError:
            return None
        if not data:
            raise EOFError("the controller is gone")
        return int.from_bytes(data, "little", signed=True)

    def put_aside(self, test: int) -> None:
        """Let it wait for :meth:`take_aside`. There are never more than a pipe holds."""
        self._write_aside(test.to_bytes(_SIZE, "little"))

    def take_aside(self) -> int | None:
        """The first of those that were put aside and not revoked, if there is one."""
        try:
            return int.from_bytes(self._read_aside(), "little")
        except BlockingIOError:
            return None


class QueueWriter:
    """The controller's end, which can also read."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.asides = os.pipe()
        """Both ends of the second pipe, for the worker."""
        for descriptor in (self._reading, self._writing, *self.asides):
            os.set_blocking(descriptor, False)

    @property
    def reading_end(self) -> int:
        """The descriptor to send to the worker."""
        return self._reading

    def put(self, records: Iterable[int]) -> None:
        """Append records. The scheduler never queues more than a pipe holds."""
        values = list(records)
        os.write(self._writing, struct.pack(f"<{len(values)}i", *values))

    def take_back(self, *, asides: bool = False) -> list[int]:
        """All tests that the worker has not read, behind those that it has put aside, if these are
        wanted. Answers (negative records) stay its own."""
        records = _drained(self._reading)
        answers = [value for value in records if value < 0]
        if answers:
            self.put(answers)
        put_aside = _drained(self.asides[0]) if asides else []
        return [*put_aside, *(value for value in records if value >= 0)]

    def close(self) -> None:
        for descriptor in (self._reading, self._writing, *self.asides):
            os.close(descriptor)


def _drained(descriptor: int) -> list[int]:
    """All records of a pipe."""
    try:
        data = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return []
    return [value for (value,) in struct.iter_unpack("<i", data)]
