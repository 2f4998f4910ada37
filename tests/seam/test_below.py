from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from pytest_braid.seam.below import Below, column_after


class Terminal:
    """Of 20 columns and 8 rows; ``written`` is what has come there since it was asked last."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        termios.tcsetwinsize(theirs, (8, 20))
        self.file: TextIO = open(theirs, "w", encoding="utf-8")  # noqa: SIM115, PTH123

    def written(self) -> str:
        self.file.flush()
        os.write(self.file.fileno(), b"#")  # so there is always something to read
        found = b""
        while not found.endswith(b"#"):
            found += os.read(self._ours, 1 << 16)
        return found[:-1].decode()

    def close(self) -> None:
        self.file.close()
        os.close(self._ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made.file)
    yield made
    monkeypatch.undo()
    made.close()


@pytest.fixture
def below(terminal: Terminal) -> Iterator[Below]:
    writer = SimpleNamespace(_file=terminal.file, hasmarkup=True, width_of_current_line=0)
    manager = SimpleNamespace(
        get_plugin=lambda _: SimpleNamespace(_tw=writer), has_plugin=lambda _: False
    )
    config: Any = SimpleNamespace(
        pluginmanager=manager, known_args_namespace=SimpleNamespace(capture="fd")
    )
    below = Below(config)
    below.open()
    yield below
    below.close()


def test_what_fits_into_the_line_leaves_the_block_alone(below: Below, terminal: Terminal) -> None:
    below.draw([[("one", "")]])
    assert "one\x1b[K\x1b[J\x1b8" in terminal.written()
    terminal.file.write("\x1b[32m.\x1b[0m\a" * 19)
    assert terminal.written() == "\x1b[32m.\x1b[0m\a" * 19


@pytest.mark.parametrize("text", ["a line\n", "." * 20, "\r", "\u6f22" * 10])
def test_what_does_not_takes_it_away_first(below: Below, terminal: Terminal, text: str) -> None:
    below.draw([[("one", "")]])
    terminal.written()
    terminal.file.write(text)
    assert terminal.written().startswith("\x1b[J" + text.rstrip("\n"))


def test_a_tab_takes_the_columns_to_the_next_stop(below: Below, terminal: Terminal) -> None:
    below.draw([[("one", "")]])
    terminal.file.write("a\t")
    terminal.file.write("." * 11)
    assert "\x1b[J" not in terminal.written()[-len("a\t" + "." * 11) :]
    terminal.file.write(".")
    assert terminal.written() == "\x1b[J."


@pytest.mark.parametrize("text", ["a\b", "\x1b[2C", "\x1b[2K", "\u6f22\v"])
def test_where_the_cursor_may_be_anywhere_the_block_is_taken_away_first(
    below: Below, terminal: Terminal, text: str
) -> None:
    below.draw([[("one", "")]])
    terminal.written()
    terminal.file.write(text)
    assert terminal.written().startswith("\x1b[J" + text[:1])
    below.draw([[("one", "")]])
    assert terminal.written() == "", "it could be at the end of the line"
    terminal.file.write("\n.")
    below.draw([[("one", "")]])
    terminal.written()
    terminal.file.write(".")
    assert terminal.written() == ".", "it is known again"


@pytest.mark.parametrize(
    ("text", "column", "after"),
    [
        ("\t", 0, 8),
        ("\t", 7, 8),
        ("\t", 8, 16),
        ("a\tb", 3, 9),
        ("\t", 17, 19),
        ("\t\t\t\t", 0, 19),
        ("\t", 20, 19),
        ("\t", 23, 28),
        ("\u6f22\t", 0, 8),
        ("\b", 3, None),
        (".", None, None),
    ],
)
def test_where_the_cursor_is_then(text: str, column: int | None, after: int | None) -> None:
    assert column_after(text, column, 20) == after


def test_what_follows_is_written_as_it_is(below: Below, terminal: Terminal) -> None:
    below.draw([[("one", "")]])
    terminal.file.write("a line\n")
    terminal.written()
    terminal.file.write("another\n")
    assert "\x1b[J" not in terminal.written()


def test_in_a_full_line_nothing_is_drawn(below: Below, terminal: Terminal) -> None:
    """Many terminals forget, when the cursor comes back, that the next letter begins a new line."""
    terminal.file.write("." * 20)
    terminal.written()
    below.draw([[("one", "")]])
    assert terminal.written() == ""
    terminal.file.write(".")
    below.draw_again()
    assert "one" in terminal.written()


def test_pieces_are_coloured_as_they_look(below: Below, terminal: Terminal) -> None:
    below.draw([[("one", "bold"), (" two", ""), (" three", "red")]])
    assert "\x1b[1mone\x1b[0m two\x1b[31m three\x1b[0m\x1b[K" in terminal.written()


def test_in_the_end_everything_is_as_before(below: Below, terminal: Terminal) -> None:
    below.draw([[("one", "")]])
    terminal.written()
    below.close()
    assert terminal.written() == "\x1b[J"
    assert "write" not in vars(terminal.file)
