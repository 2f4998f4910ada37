"""A block of lines below what the terminal shows, drawn again and again, and in nobody's way.

The cursor always stands where the last output ended, and the block is what is below it. So to take
it away is to erase from the cursor to the end of the screen, wherever that is by now, and however
the window was resized; what has been printed is never touched. Whatever this process is about to
write (pytest, a plugin's ``print``, a log handler) passes a ``write`` that takes the block away
first, unless it is a few letters that fit into the line.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest

_INVISIBLE = re.compile(r"\x1b\[[\d;]*m|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00\x07]")
"""Colours, what goes to the window and not onto the screen, and the bell."""

_MOVES = re.compile(r"[\x01-\x06\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What puts the cursor where only the terminal knows."""

_TAB = 8
"""Columns from one stop to the next."""

_ERASE = "\x1b[J"
_SAVE, _RESTORE = "\x1b7", "\x1b8"
_DOWN = "\x1bD"
"""A line down in the same column; at the bottom all moves up. A line feed would lose the column."""

_COLOURS = {"bold": "1", "red": "31", "yellow": "33", "light": "2"}

_LEAST_COLUMNS, _LEAST_ROWS = 30, 6
"""Of a terminal that has room for a block."""

_DUMB = ("", "dumb", "unknown")


def is_own_terminal(config: pytest.Config) -> bool:
    """Whether pytest's own reporter writes to a terminal that understands where the cursor is to
    go. One of a plugin may draw a block of its own."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if type(reporter).__module__ != "_pytest.terminal" or not reporter.isatty:
        return False
    if os.environ.get("TERM", "") in _DUMB or reporter._tw._file is not sys.stdout:
        return False
    return os.name == "posix" and hasattr(sys.stdout, "fileno") and os.isatty(sys.stdout.fileno())


def is_in_ci() -> bool:
    """As pytest sees it: some give their jobs a terminal, and keep all that is written to it."""
    return any(os.environ.get(name) for name in ("CI", "BUILD_NUMBER"))


def progress_style(config: pytest.Config) -> str:
    """``console_output_style``: ``classic``, ``progress``, ``count``, ``times``, ...; empty without
    pytest's terminal plugin."""
    has_style = config.pluginmanager.hasplugin("terminal")
    return str(config.getini("console_output_style")) if has_style else ""


class Below:
    """The block of one terminal, that of ``sys.stdout``."""

    def __init__(self, config: pytest.Config) -> None:
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._writer = reporter._tw
        self._file = self._writer._file
        self._is_coloured = bool(self._writer.hasmarkup)
        self._descriptor = self._file.fileno()
        self._write: Callable[[str], Any] = self._file.write
        self._guarded: list[Any] = []
        self._column: int | None = 0
        """Of the line that is open, counted on where it is wrapped; ``None`` if nobody can say."""
        self._text = ""
        self.is_shown = False

    def open(self) -> None:
        """From now on everything that is written goes through here."""
        width = self._writer.width_of_current_line
        self._column = None if width < 0 else width
        for stream in (sys.stdout, sys.stderr):
            if stream is self._file or _is_terminal(stream):
                self._guard(stream)
        if threading.current_thread() is threading.main_thread():
            self._watch_stops()

    def _guard(self, stream: Any) -> None:
        real = stream.write

        def write(text: str) -> Any:
            if self.is_shown and not self._fits(text):
                self._take_away(real)
            self._follow(text)
            return real(text)

        with contextlib.suppress(AttributeError):  # an object without room for it
            stream.write = write
            self._guarded.append(stream)

    def _fits(self, text: str) -> bool:
        """Whether it stays in the line where the cursor is."""
        if "\n" in text or "\r" in text:
            return False
        columns, _ = self.size()
        column = column_after(_INVISIBLE.sub("", text), self._column, columns)
        return column is not None and column < columns

    def _follow(self, text: str) -> None:
        *before, last = _INVISIBLE.sub("", text).replace("\r", "\n").rsplit("\n", 1)
        self._column = column_after(last, 0 if before else self._column, self.size()[0])

    def wrote(self, data: bytes) -> None:
        """Take in what has been written past Python; :meth:`take_away` was called before."""
        try:
            self._follow(data.decode())
        except UnicodeDecodeError:  # a letter in two parts, say
            self._column = None

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, as they are now."""
        with contextlib.suppress(OSError):
            columns, rows = os.get_terminal_size(self._descriptor)
            if columns and rows:
                return columns, rows
        return 80, 24

    @property
    def has_room(self) -> bool:
        columns, rows = self.size()
        return columns >= _LEAST_COLUMNS and rows >= _LEAST_ROWS

    # --- drawing ------------------------------------------------------------------------------

    def draw(self, lines: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Show these lines: pieces of text, and how each looks. They fit into the screen."""
        drawn = "".join(f"\r\n{self._line(line)}\x1b[K" for line in lines)
        count = len(lines)
        self._text = f"{_DOWN * count}\x1b[{count}A{_SAVE}{drawn}{_ERASE}{_RESTORE}"
        self.draw_again()

    def draw_again(self) -> None:
        """What was drawn last."""
        if not self._text or self._may_be_at_margin():
            return
        self._is_writing = True
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            for stream in self._guarded:  # or it would come when the block is there
                stream.flush()
            self._write(self._text)
            self._file.flush()
            self.is_shown = True
        self._written()

    def _may_be_at_margin(self) -> bool:
        """Whether the line is full, perhaps, and the next letter goes to another: not all terminals
        know that any more when the cursor has been away."""
        if self._column is None:
            return True
        return self._column > 0 and self._column % self.size()[0] == 0

    def _line(self, line: Sequence[tuple[str, str]]) -> str:
        if not self._is_coloured:
            return "".join(text for text, _ in line)
        return "".join(
            f"\x1b[{_COLOURS[look]}m{text}\x1b[0m" if look else text for text, look in line
        )

    def take_away(self) -> None:
        """Before something is written past Python."""
        if self.is_shown:
            self._take_away(self._write)

    def _take_away(self, write: Callable[[str], Any]) -> None:
        self.is_shown = False
        self._is_writing = True
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()
            write(_ERASE)
            if write is self._write:
                self._file.flush()
        self._written()

    def close(self) -> None:
        """Take it away for good."""
        self.take_away()
        for stream in self._guarded:
            with contextlib.suppress(AttributeError):
                del stream.write
        self._guarded = []
        if self._stops is not None:
            signal.signal(signal.SIGTSTP, self._stops)
            self._stops = None

    # --- Ctrl-Z -------------------------------------------------------------------------------

    _stops: Any = None
    _is_writing = False
    _stops_then: int | None = None
    """The signal that has come while it was being written, which cannot be done twice at once."""

    def _written(self) -> None:
        self._is_writing = False
        if self._stops_then is not None:
            signum, self._stops_then = self._stops_then, None
            self._stop(signum, None)

    def _watch_stops(self) -> None:
        """The shell is to find a clean screen when the run is suspended."""
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            self._stops = signal.signal(signal.SIGTSTP, self._stop)

    def _stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._is_writing:
            self._stops_then = signum
            return
        try:
            self.take_away()
        except RuntimeError:  # in the middle of somebody else's writing
            os.write(self._descriptor, _ERASE.encode())
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
        signal.signal(signum, self._stop)  # it goes on


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def cut(text: str, width: int, *, at_front: bool) -> str:
    """As much of a text as fits into so many columns; what is left out is said by dots."""
    from _pytest._io.wcwidth import wcswidth

    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if wcswidth(text) <= width:
        return text
    dots = "..." if width > len("...") else ""
    while text and wcswidth(text) + len(dots) > width:
        text = text[1:] if at_front else text[:-1]
    return dots + text if at_front else text + dots


def width_of(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    from _pytest._io.wcwidth import wcswidth

    return int(wcswidth(text))


def column_after(text: str, column: int | None, columns: int) -> int | None:
    """Where the cursor is behind a piece of a line that was written at ``column``, on a terminal of
    so many ``columns``; ``None`` if nobody can say."""
    if column is None or _MOVES.search(text):
        return None
    first, *others = text.split("\t")
    column += width_of(first)
    for piece in others:
        column = _stop_after(column, columns) + width_of(piece)
    return column


def _stop_after(column: int, columns: int) -> int:
    """A tab leads to the last column at most; in a full line the cursor is there already."""
    row, at = divmod(column, columns)
    if column and not at:
        row, at = row - 1, columns - 1
    return row * columns + min((at // _TAB + 1) * _TAB, columns - 1)
