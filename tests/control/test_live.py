"""Which lines are shown when, of what workers have printed. The time is given, not taken."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pytest_braid.control.live import Pipe, Screen, write

MARK = b"\0mark\1"


class Play:
    """A screen and two workers that print to it."""

    def __init__(self, stack: ExitStack, *, patience: float = 1.0, is_naming: bool = False) -> None:
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- the stack closes it
        stack.enter_context(self._file)
        self.terminal_has_begun = False
        self.screen = Screen(self._file, is_naming=is_naming, end_line=self._end_line)
        self._ends: dict[Pipe, int] = {}
        self.a, self.b = (self._pipe(stack, number, patience) for number in range(2))
        if is_naming:
            self.a.heading, self.b.heading = b"[a] t", b"[b] u"

    def _end_line(self) -> bool:
        had, self.terminal_has_begun = self.terminal_has_begun, False
        return had

    def _pipe(self, stack: ExitStack, number: int, patience: float) -> Pipe:
        reading, writing = os.pipe()
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        pipe = Pipe(reading, self.screen, number, MARK, patience)
        self._ends[pipe] = writing
        return pipe

    def say(self, pipe: Pipe, text: bytes, *, at: float = 0.0) -> None:
        """A worker prints, the controller reads and shows what it may show."""
        self.put(pipe, text)
        pipe.read()
        pipe.show(at)

    def put(self, pipe: Pipe, text: bytes) -> None:
        os.write(self._ends[pipe], text)

    def shown(self) -> bytes:
        """Everything until now."""
        descriptor = self._file.fileno()
        return os.pread(descriptor, 1 << 24, 0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def play(stack: ExitStack) -> Play:
    return Play(stack)


@pytest.fixture
def named(stack: ExitStack) -> Play:
    return Play(stack, is_naming=True)


def test_a_line_is_shown_when_it_has_its_end(play: Play) -> None:
    play.say(play.a, b"one\ntw")
    assert play.shown() == b"one\n"
    play.say(play.a, b"o\nthree\n")
    assert play.shown() == b"one\ntwo\nthree\n"


def test_halves_of_two_workers_lines_do_not_meet(play: Play) -> None:
    for pipe, text in ((play.a, b"aa"), (play.b, b"bb"), (play.a, b"AA\n"), (play.b, b"BB\n")):
        play.say(pipe, text)
    assert play.shown() == b"aaAA\nbbBB\n"


def test_a_line_without_an_end_is_shown_after_a_while(play: Play) -> None:
    play.say(play.a, b"name? ", at=10.0)
    assert play.a.due == 11.0
    play.say(play.a, b"really? ", at=10.9)
    assert play.shown() == b""
    play.a.show(11.0)
    assert play.shown() == b"name? really? "
    assert not play.a.due


def test_what_continues_an_open_line_is_shown_at_once(play: Play) -> None:
    play.say(play.a, b".", at=1.0)
    play.a.show(2.0)
    play.say(play.a, b".", at=2.0)
    assert play.shown() == b".."


def test_only_a_whole_line_breaks_into_an_open_one(play: Play) -> None:
    play.say(play.a, b"aa", at=0.0)
    play.say(play.b, b"bb", at=0.0)
    play.a.show(5.0)
    play.b.show(5.0)
    assert play.shown() == b"aa"
    assert play.b.due is None  # nothing to wait for: only another's end lets it be shown
    play.say(play.b, b"BB\n", at=5.0)
    play.say(play.a, b"AA\n", at=5.0)
    assert play.shown() == b"aa\nbbBB\nAA\n"


def test_a_very_long_line_is_not_held_back(play: Play) -> None:
    for _ in range(40):
        play.say(play.a, b"x" * (1 << 15))
    assert len(play.shown()) >= 1 << 20
    play.say(play.b, b"b\n")
    assert play.shown().endswith(b"x\nb\n")


def test_what_was_printed_before_a_message_is_shown_before_it(play: Play) -> None:
    play.say(play.a, b"", at=0.0)
    play.put(play.a, b"first" + MARK + b"second\n" + MARK + b"third\n")
    play.a.pass_mark()
    assert play.shown() == b"first"
    play.screen.end()
    play.a.pass_mark()
    assert play.shown() == b"first\nsecond\n"


def test_what_was_read_together_with_a_mark_waits_for_the_messages_behind_it(play: Play) -> None:
    play.put(play.a, b"first\n" + MARK + b"second\n" + MARK + b"third\n")
    play.a.pass_mark()
    play.a.show(0.0)
    assert (play.shown(), play.a.due) == (b"first\n", 0.0)
    play.a.is_ahead = False  # messages have been looked for, and there is none
    play.a.show(0.0)
    assert (play.shown(), play.a.due) == (b"first\nsecond\nthird\n", None)


def test_a_message_that_comes_later_than_its_mark_holds_nothing_up(play: Play) -> None:
    play.say(play.a, b"first\n" + MARK + b"second\n")
    assert play.shown() == b"first\nsecond\n"
    play.put(play.a, b"third\n" + MARK + b"fourth\n")
    play.a.pass_mark()
    assert play.shown() == b"first\nsecond\n"
    play.a.pass_mark()
    assert play.shown() == b"first\nsecond\nthird\n"


def test_a_mark_that_was_read_in_halves_is_not_shown(play: Play) -> None:
    for cut in range(1, len(MARK)):
        play.say(play.a, b"x\n" + MARK[:cut])
        play.say(play.a, MARK[cut:])
    assert play.shown() == b"x\n" * (len(MARK) - 1)


def test_what_only_begins_like_a_mark_is_shown(play: Play) -> None:
    play.say(play.a, b"x\n" + MARK[:2])
    assert play.shown() == b"x\n"
    play.say(play.a, b"y\n")
    assert play.shown() == b"x\n" + MARK[:2] + b"y\n"


def test_a_mark_that_never_came_holds_nothing_up(play: Play) -> None:
    play.put(play.a, b"closed all descriptors\n")
    play.a.pass_mark()
    play.a.is_ahead = False
    play.a.show(0.0)
    assert play.shown() == b"closed all descriptors\n"


def test_all_is_shown_of_a_worker_at_its_end(play: Play) -> None:
    play.say(play.a, b"last")
    play.put(play.a, b" words" + MARK + b" and more")
    play.a.show_all()
    assert play.shown() == b"last words and more\n"
    play.a.show_all()
    assert play.shown() == b"last words and more\n"


def test_the_worker_and_its_test_are_named_where_they_change(named: Play) -> None:
    named.say(named.a, b"1\n2\n")
    named.say(named.a, b"3\n")
    named.say(named.b, b"4\n")
    named.a.heading = b"[a] v"
    named.say(named.a, b"5\n")
    assert named.shown() == b"[a] t\n1\n2\n3\n[b] u\n4\n[a] v\n5\n"


def test_a_test_that_begins_in_an_open_line_begins_a_line(named: Play) -> None:
    named.say(named.a, b"half" + MARK)
    named.a.heading = b"[a] v"
    named.say(named.a, b"more\n")
    assert named.shown() == b"[a] t\nhalf\n[a] v\nmore\n"


def test_results_end_the_line_and_the_worker_is_named_again(named: Play) -> None:
    named.say(named.a, b"1\n")
    named.terminal_has_begun = True
    named.say(named.a, b"2\n3\n")
    assert named.shown() == b"[a] t\n1\n[a] t\n2\n3\n"


def test_where_nobody_else_prints_names_begin_with_the_second_worker(stack: ExitStack) -> None:
    play = Play(stack)
    play.a.heading, play.b.heading = b"[a] t", b"[b] u"
    play.say(play.a, b"1\n")
    play.a.heading = b"[a] v"
    play.say(play.a, b"2\n")
    play.say(play.b, b"3\n")
    play.say(play.a, b"4\n")
    assert play.shown() == b"1\n2\n[b] u\n3\n[a] v\n4\n"


def test_bytes_are_written_behind_what_a_stream_holds_back() -> None:
    with tempfile.TemporaryFile("w+") as file:
        file.write("before ")
        write(file, b"\xff\0\n")
        assert os.pread(file.fileno(), 100, 0) == b"before \xff\0\n"


def test_a_stream_without_a_descriptor_gets_text() -> None:
    from io import StringIO

    stream = StringIO()
    write(stream, b"snow \xe2\x98\x83 \xff\n")
    assert stream.getvalue() == "snow \u2603 \ufffd\n"


def test_a_pipe_that_takes_no_more_for_now_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    size = 1 << 20
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            write(stream, b"x" * size)
        os._exit(0)
    os.close(writing)
    os.set_blocking(reading, True)
    with os.fdopen(reading, "rb") as file:
        assert len(file.read()) == size
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_who_reads_no_more_is_not_written_to() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, ExitStack() as stack:
        screen = Screen(stream, is_naming=False, end_line=lambda: False)
        play = Play(stack)
        screen.show(play.a, b"lost\n")
        screen.show(play.a, b"lost too\n")
