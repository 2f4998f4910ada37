"""What workers print where pytest does not capture it, shown at once: the lines of one worker and
those of another come one after the other, never one within the other.

Each worker prints into two pipes. The controller reads them whenever it waits, so that no worker
has to wait for long, and writes whole lines to its own stdout and stderr. Where several workers
print, a line before theirs names the worker and its test.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, TextIO

import pytest

from pytest_braid.seam.live import end_terminal_line, logs_live, prints_live

if TYPE_CHECKING:
    from pytest_braid.control.fleet import Worker

_PATIENCE = 1.0
"""Seconds after which a line is shown that has no end yet: a prompt, a row of dots."""

_ALONE = 0.05
"""The same where nobody else prints. Unbuffered, Python writes a line and its end one by one."""

_LONG = 1 << 20
"""Bytes of such a line that are not held back in any case."""

_CHUNK = 1 << 16

_AT_ONCE = 16
"""Chunks of one pipe that are read before something else has its turn."""


class Screen:
    """Where the controller prints: a stream, and whose lines stand in it.

    ``is_naming``: a line names the worker and its test before what they print; if not yet, then it
    will as soon as a second worker prints there. ``end_line`` ends the line that somebody else has
    begun there, and says whether there was one.
    """

    def __init__(
        self, stream: TextIO | None, *, is_naming: bool, end_line: Callable[[], bool]
    ) -> None:
        self._stream = stream
        self._is_naming = is_naming
        self._end_line = end_line
        self._last: Pipe | None = None
        self._heading = b""
        self.make_room: Callable[[], None] = lambda: None
        """Called before anything is written: it may stand where it goes."""
        self.wrote: Callable[[bytes], None] = lambda _: None
        """Called with what has been written."""
        self.open: Pipe | None = None
        """Whose last line has no end yet."""

    def show(self, pipe: Pipe, text: bytes) -> None:
        """Show lines of a worker; the last one may have no end yet."""
        is_other = pipe.heading != self._heading
        before = b"" if self.open is None or (self.open is pipe and not is_other) else b"\n"
        if self._ends_a_line() or is_other:
            before += self._name(pipe)
        self.open = None if text.endswith(b"\n") else pipe
        self._write(before + text)

    def _name(self, pipe: Pipe) -> bytes:
        if self._last is not None and self._last.worker != pipe.worker:
            self._is_naming = True
        self._last, self._heading = pipe, pipe.heading
        return pipe.heading + b"\n" if pipe.heading and self._is_naming else b""

    def end(self) -> None:
        """End the open line, if there is one."""
        if self.open is not None:
            self.open = None
            self._write(b"\n")

    @property
    def is_terminal(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except (AttributeError, ValueError):
            return False

    def _ends_a_line(self) -> bool:
        try:
            return self.open is None and self._end_line()
        except OSError:
            return False

    def _write(self, data: bytes) -> None:
        """What nobody reads (``| head -1``) is dropped. The terminal's own lines meet the same
        error, and with it the run ends."""
        self.make_room()
        try:
            if self._stream is not None:
                write(self._stream, data)
                self.wrote(data)
        except (OSError, ValueError):
            self._stream = None


def write(stream: TextIO, data: bytes) -> None:
    """Write bytes behind what a stream has in its buffer; unchanged, if it has a descriptor."""
    stream.flush()
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError):  # of somebody who runs pytest inside of a program
        stream.write(data.decode(errors="replace"))
        return
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # it is shared with somebody who wants it so
            select.select([], [descriptor], [])


class Pipe:
    """One of the pipes into which a worker prints, and what of it has not been shown.

    ``mark`` stands in it once for each message that the worker marks: what is before it was printed
    before. A line waits for its end for ``patience`` seconds.
    """

    def __init__(
        self, descriptor: int, screen: Screen, worker: int, mark: bytes, patience: float
    ) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.worker = worker
        self.heading = b""
        self._screen = screen
        self._mark = mark
        self._patience = patience
        self._pending = b""
        self._due = 0
        """Messages with a mark that have come, less marks that have been met."""
        self._since: float | None = None
        self.is_ahead = False
        """Whether it has been read later than the messages that go with what was read."""

    @property
    def due(self) -> float | None:
        """When a line that is held back is to be shown, in seconds of the clock; ``None`` if there
        is none, or if nothing but the end of another line lets it be shown."""
        if self.is_ahead:
            return 0.0
        if self._since is None or self._screen.open is not None:
            return None
        return self._since + self._patience

    def read(self) -> bool:
        """Read what is there, which is no more than a pipe holds, unless somebody prints on and on;
        false at the end of the stream."""
        chunks = [self._pending]
        try:
            for _ in range(_AT_ONCE):
                data = os.read(self.descriptor, _CHUNK)
                if not data:
                    return False
                chunks.append(data)
        except BlockingIOError:
            pass
        finally:
            self._pending = b"".join(chunks)
        return True

    def pass_mark(self) -> None:
        """Show what was printed before a message that has come. Its mark is there, or has been met
        already: the worker has printed it before it sent the message."""
        self._due += 1
        if self._due > 0 and self._mark not in self._pending:
            self.is_ahead = True
            self.read()
        while self._due > 0 and self._mark in self._pending:
            text, _, self._pending = self._pending.partition(self._mark)
            self._meet(text)

    def show(self, now: float) -> None:
        """Show what there is, except for a line that may soon have its end. What is ahead of the
        messages waits for the next time: results come in between."""
        if self.is_ahead:
            return
        *marked, rest = self._pending.split(self._mark)
        for text in marked:
            self._meet(text)
        end = len(rest) - self._may_be_mark(rest)
        whole, newline, part = rest[:end].rpartition(b"\n")
        self._show(whole + newline)
        if not part:
            self._since = None
        elif self._since is None:
            self._since = now
        if part and self._is_due(part, now):
            self._show(part)
            part, self._since = b"", None
        self._pending = part + rest[end:]

    def show_all(self) -> None:
        """Show everything that has been printed, and end the line."""
        self.read()
        self._show(self._pending.replace(self._mark, b""))
        self._pending, self._since = b"", None
        if self._screen.open is self:
            self._screen.end()

    def _meet(self, text: bytes) -> None:
        self._due -= 1
        self._show(text)

    def _show(self, text: bytes) -> None:
        if text:
            self._screen.show(self, text)

    def _is_due(self, part: bytes, now: float) -> bool:
        """A line without an end does not break into another's: that comes of whole lines only."""
        if self._screen.open is self or len(part) >= _LONG:
            return True
        return self.due is not None and self.due <= now

    def _may_be_mark(self, text: bytes) -> int:
        """How many bytes at the end of ``text`` may be the beginning of a mark."""
        sizes = range(len(self._mark) - 1, 0, -1)
        return next((size for size in sizes if text.endswith(self._mark[:size])), 0)


class Live:
    """The pipes of a run, if it has such (``is_on``).

    ``poll`` tells which of them has something to read, and whatever else is registered there.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.is_on = prints_live(config) or logs_live(config)
        self.poll = select.poll()
        out = Screen(sys.stdout, is_naming=True, end_line=partial(end_terminal_line, config))
        err = Screen(sys.stderr, is_naming=False, end_line=lambda: False)
        self._screens = (out, out if _is_same_file(sys.stdout, sys.stderr) else err)
        self._is_shared = True
        self._pipes: dict[int, Pipe] = {}
        self._of: dict[int, list[Pipe]] = {}

    def let(self, make_room: Callable[[], None], wrote: Callable[[bytes], None]) -> None:
        """From now on have somebody make room for what is shown, and tell him what a terminal has
        shown."""
        for screen in self._screens:
            screen.make_room = make_room
            if screen.is_terminal:
                screen.wrote = wrote

    def expect(self, workers: int) -> None:
        """So many will print beside each other: a worker that is alone needs no name."""
        self._is_shared = workers > 1

    def listen_to(self, worker: Worker) -> None:
        """From now on show what a worker prints, until nobody can print into its pipes."""
        patience = _PATIENCE if self._is_shared else _ALONE
        pipes = [
            Pipe(descriptor, screen, worker.number, worker.mark, patience)
            for descriptor, screen in zip(worker.printed, self._screens, strict=False)
        ]
        self._of[worker.number] = pipes
        for pipe in pipes:
            self._pipes[pipe.descriptor] = pipe
            self.poll.register(pipe.descriptor, select.POLLIN)
        self.runs(worker, "")

    def runs(self, worker: Worker, nodeid: str) -> None:
        """Note what a worker is at."""
        if self._is_shared:
            for pipe in self._of.get(worker.number, ()):
                pipe.heading = f"[{worker.name}] {nodeid}".rstrip().encode(errors="replace")

    def read(self, ready: AbstractSet[int]) -> bool:
        """Before messages are read: read those of the pipes that are ready. Says whether there were
        any."""
        found = [self._pipes[descriptor] for descriptor in ready & self._pipes.keys()]
        for pipe in self._pipes.values():
            pipe.is_ahead = False
        for pipe in found:
            if not pipe.read():
                self._close(pipe)
        return bool(found)

    def _close(self, pipe: Pipe) -> None:
        pipe.show_all()
        self.poll.unregister(pipe.descriptor)
        del self._pipes[pipe.descriptor]
        os.close(pipe.descriptor)

    def pass_mark(self, worker: Worker, *, is_shown: bool = True) -> None:
        """Show what a worker printed before a message that has come. ``is_shown``: the terminal may
        say something of it, so it gets a line of its own."""
        for pipe in self._of.get(worker.number, ()):
            if self._pipes.get(pipe.descriptor) is pipe:  # or the number is another's by now
                pipe.pass_mark()
        if is_shown:
            for screen in self._screens:
                screen.end()

    def ended(self, worker: Worker) -> None:
        """Show what a worker has printed that is at its end. Others may hold its pipes open."""
        for pipe in self._of.pop(worker.number, ()):
            if self._pipes.get(pipe.descriptor) is pipe:
                pipe.show_all()
        for screen in self._screens:
            screen.end()

    def show(self) -> None:
        """Show what has been read."""
        now = time.monotonic()
        for pipe in self._pipes.values():
            pipe.show(now)

    def patience(self) -> float | None:
        """Milliseconds until a line that is held back is to be shown; ``None`` if there is none."""
        times = [pipe.due for pipe in self._pipes.values() if pipe.due is not None]
        return 1000 * max(0.001, min(times) - time.monotonic()) if times else None

    def wait_for(self, *descriptors: int) -> set[int]:
        """Wait until one of these is readable, and show meanwhile what is printed."""
        found: set[int] = set()
        while not found:
            poll = select.poll()
            for number in (*descriptors, *self._pipes):
                poll.register(number, select.POLLIN)
            ready = {number for number, _ in poll.poll(self.patience())}
            self.read(ready)
            self.show()
            found = ready & {*descriptors}
        return found

    def close(self) -> None:
        """The run is over, whoever may still hold pipes open."""
        for pipe in list(self._pipes.values()):
            self._close(pipe)


def _is_same_file(one: TextIO | None, other: TextIO | None) -> bool:
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())  # type: ignore[union-attr]
    except (OSError, AttributeError, ValueError):
        return False
