"""The descriptors of one worker. What must outlive a worker's death belongs to the controller; the
last two are there only where output is shown live:

====== ============================== ======================================
queue  pipe                           the tests it is to run
aside  pipe, both ends                those of them that it has put aside (``wire.queue``)
speech stream socket                  what it says
out    file                           what the running test printed, captured
err    file                           likewise
fault  file                           faulthandler's dump
screen file                           what plugins have written to its terminal, which nobody sees
claim  small file, mapped             the tests it runs, readable after SIGKILL, and whether it may
                                      begin another; of a fixture host: what it is not to set up
tally  file, mapped by all workers    how many tests have failed (``--maxfail``)
stdout pipe                           what it prints outside of captures
stderr pipe                           likewise
====== ============================== ======================================
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

_SHARE = struct.Struct("<I")
_HEAD = 1 + _SHARE.size

_ENTRY = struct.Struct("<QI")
"""A thread and a test, for each strand."""


class WorkerKit(NamedTuple):
    """The worker's side: plain descriptor numbers, in the order in which they are sent."""

    queue: int
    aside: int
    aside_in: int
    speech: int
    out: int
    err: int
    fault: int
    screen: int
    claim: int
    tally: int
    stdout: int | None = None
    stderr: int | None = None

    @classmethod
    def size(cls, *, is_live: bool) -> int:
        """How many descriptors are sent."""
        return len(cls._fields) if is_live else len(cls._fields) - 2

    def descriptors(self) -> tuple[int, ...]:
        return tuple(number for number in self if number is not None)

    def live(self) -> tuple[int, ...]:
        """Those of live output, if there are any."""
        return self.descriptors()[self.size(is_live=False) :]


def new_mark() -> bytes:
    """A mark for one worker's live output (``worker.live``).

    What may be the beginning of one is not shown until it is known, so it begins with a byte that
    no line ends with, and that is part of no text in UTF-8.
    """
    return b"\xff" + os.urandom(15)


class ZygoteKit(NamedTuple):
    """What the controller gives its zygote, so as to know of it after its death.

    ``out`` and ``err`` are descriptors for what pytest captures in it, ``log`` for what it prints
    outside of that (``None``: where the controller prints); ``parent`` is the controller's process.
    """

    out: int
    err: int
    log: int | None
    place: Place
    parent: int


class Place:
    """What a copy of the session is at, in words, in memory shared with the controller."""

    ROOM = 1024

    def __init__(self, memory: mmap.mmap | None = None, start: int = 0) -> None:
        self._memory = mmap.mmap(-1, self.ROOM) if memory is None else memory
        self._part = slice(start, start + self.ROOM)

    def set(self, text: str) -> None:
        self._memory[self._part] = text.encode(errors="replace")[: self.ROOM].ljust(
            self.ROOM, b"\0"
        )

    def get(self) -> str:
        return self._memory[self._part].rstrip(b"\0").decode(errors="ignore")

    def close(self) -> None:
        self._memory.close()


class Claim:
    """The indices of the tests that a worker runs, in memory shared with the controller: one for
    each strand, the first of which is the main thread."""

    STRANDS = 1 + 1000

    def __init__(self, descriptor: int) -> None:
        size = _HEAD + Place.ROOM + _ENTRY.size * self.STRANDS
        if os.fstat(descriptor).st_size < size:
            os.truncate(descriptor, size)
        self._memory = mmap.mmap(descriptor, size)
        self.place = Place(self._memory, _HEAD)
        """What it collects, where it collects for itself."""

    def set(self, test: int, strand: int = 0, thread: int = 0) -> None:
        """This strand is about to run a test, in this thread (``threading.get_ident``)."""
        _ENTRY.pack_into(self._memory, _HEAD + Place.ROOM + _ENTRY.size * strand, thread, test + 1)

    def get(self) -> dict[int, int]:
        """The tests that strands have begun last, and their threads; 0 if that is not known."""
        entries = _ENTRY.iter_unpack(self._memory[_HEAD + Place.ROOM :])
        return {test - 1: thread for thread, test in entries if test}

    def forbid(self) -> None:
        """Let the worker begin nothing more: it is about to be killed."""
        self._memory[0] = 1

    def is_forbidden(self) -> bool:
        return self._memory[0] == 1

    def break_off(self, share: int) -> None:
        """Let the fixture host not set this share up. A setup that goes on is interrupted by the
        signal that follows, and one of another share is not."""
        _SHARE.pack_into(self._memory, 1, share + 1)

    def is_broken_off(self, share: int | None) -> bool:
        """Whether this share, the last for which somebody said so, is not to be set up."""
        (last,) = _SHARE.unpack_from(self._memory, 1)
        return share is not None and last == share + 1

    def close(self) -> None:
        self._memory.close()
