"""Lines of several tests in one stream."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_braid.seam.lines import Lines
from pytest_braid.seam.routing import AT_END


class Tests:
    """Several that run, of which one at a time prints."""

    __test__ = False

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self._own: dict[str, dict[str, Any]] = {}
        self.runs: str | None = None
        self.lines: Any = Lines(self.stream, self._values)

    def _values(self) -> dict[str, Any] | None:
        return None if self.runs is None else self._own.setdefault(self.runs, {})

    def let(self, name: str | None, text: str, *, flush: bool = False) -> None:
        """A test prints; ``None``: what runs for none."""
        self.runs = name
        print(text, end="", file=self.lines, flush=flush)
        self.runs = None

    def end(self, name: str) -> None:
        for call in self._own.pop(name, {}).get(AT_END, ()):
            call()

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def tests() -> Tests:
    return Tests()


def test_a_line_is_written_when_it_is_whole(tests: Tests) -> None:
    tests.let("a", "of ")
    tests.let("b", "of b\n")
    assert tests.text == "of b\n"
    tests.let("a", "a\nand ")
    assert tests.text == "of b\nof a\n"
    tests.let("a", "more\nthan one\n")
    assert tests.text == "of b\nof a\nand more\nthan one\n"


def test_in_one_piece(tests: Tests, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(tests.stream, "write", written.append)
    for piece in ("1 ", "2\n3", "\n"):
        tests.let("a", piece)
    assert written == ["1 2\n", "3\n"]


def test_what_has_no_end_is_written_when_the_test_is_over(tests: Tests) -> None:
    tests.let("a", "no end")
    tests.let("b", "nor here")
    assert tests.stream.tell() == 0
    tests.end("b")
    tests.end("a")
    assert tests.text == "nor here\nno end"


def test_or_flushes(tests: Tests) -> None:
    tests.let("a", "how many? ", flush=True)
    assert tests.text == "how many? "
    tests.let("a", "three\n")
    assert tests.text == "how many? three\n"


def test_a_line_of_another_begins_behind_it(tests: Tests) -> None:
    tests.let("a", "how many? ", flush=True)
    tests.let("b", "of b\n")
    tests.let("a", "three\n")
    assert tests.text == "how many? \nof b\nthree\n"


def test_what_runs_for_no_test_prints_as_ever(tests: Tests) -> None:
    tests.let("a", "of a, ")
    tests.let(None, "of none")
    assert tests.text == "of none"


def test_each_thread_of_a_test_has_lines_of_its_own(tests: Tests) -> None:
    def in_thread(do: Callable[[], object]) -> None:
        thread = threading.Thread(target=do)
        thread.start()
        thread.join()

    tests.let("a", "of the first ")
    in_thread(lambda: tests.let("a", "of a second\n"))
    tests.let("a", "thread\n")
    assert tests.text == "of a second\nof the first thread\n"


def test_it_is_of_the_kind_of_the_stream_and_has_all_of_it(tests: Tests) -> None:
    lines: Any = tests.lines
    tests.runs = "a"
    lines.writelines(["one\n", "two\n"])
    assert lines.getvalue() == "one\ntwo\n"
    with pytest.raises(TypeError):
        lines.write(b"bytes")
    assert lines.isatty() is False
    assert isinstance(lines, io.StringIO)


def test_a_closed_stream_is_told_to_who_prints_and_to_nobody_at_the_end(tests: Tests) -> None:
    tests.let("a", "no end")
    tests.stream.close()
    with pytest.raises(ValueError, match="closed"):
        tests.let("a", "end\n")
    tests.let("b", "no end")
    tests.end("b")
