from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_braid.control.progress import fitted
from pytest_braid.model import events as e
from pytest_braid.model.commands import StartWorker
from pytest_braid.report.progress import Line, Name, Part, Progress, span

NODEIDS = [f"test_a.py::test_{n}" for n in range(10)]


def made(expected: Sequence[float | None] = (), *, by_count: bool = False) -> Progress:
    return Progress(NODEIDS, len(NODEIDS), expected, by_count=by_count)


def start(progress: Progress, test: int, at: float, worker: int = 0, strand: int = 0) -> None:
    progress.event(e.Started(worker=worker, test=test, strand=strand, at=at))


def run(progress: Progress, tests: Sequence[int], at: float, seconds: float = 1.0) -> None:
    """One after another, each for so many seconds."""
    for test in tests:
        start(progress, test, at)
        at += seconds
        progress.event(e.Finished(worker=0, test=test, at=at))


def text(lines: Sequence[Line]) -> list[str]:
    return ["".join(part.text for part in line) for line in lines]


def head(progress: Progress, at: float) -> str:
    return text(progress.block(at, 1))[0]


def test_before_the_first_test_there_is_nothing_to_say() -> None:
    assert head(made(), 5.0) == "0% of 10 tests, 0 s"


def test_the_rest_takes_as_long_as_the_tests_until_now() -> None:
    progress = made()
    run(progress, range(4), 100.0)
    assert head(progress, 104.0) == "40% of 10 tests, 4 s, about 6 s left"


def test_little_is_too_little_to_say_how_long_the_rest_takes() -> None:
    progress = made()
    run(progress, range(2), 100.0)
    assert progress.remaining(102.0) is None


def test_two_that_run_at_once_take_half_the_time() -> None:
    progress = made()
    for worker in (0, 1):
        for turn in range(2):
            start(progress, 2 * worker + turn, 100.0 + turn, worker=worker)
            progress.event(e.Finished(worker=worker, test=2 * worker + turn, at=101.0 + turn))
    assert progress.remaining(102.0) == pytest.approx(3.0)


def test_a_running_test_has_done_a_part_of_its_work() -> None:
    progress = made()
    run(progress, range(4), 100.0)
    start(progress, 4, 104.0)
    assert progress.remaining(104.5) == pytest.approx(5.5)


def test_what_earlier_runs_have_taught_counts_more() -> None:
    progress = made([1.0] * 9 + [20.0])
    run(progress, range(4), 100.0)
    assert progress.remaining(104.0) == pytest.approx(25.0)
    start(progress, 9, 104.0)
    assert progress.remaining(106.0) == pytest.approx(23.0)


def test_tests_that_are_new_take_as_long_as_other_new_ones() -> None:
    progress = made([1.0, None, None, None, None, 1.0, 1.0, 1.0, 1.0, 1.0])
    run(progress, [0], 100.0)
    run(progress, [1, 2], 101.0, seconds=3.0)
    assert progress.remaining(107.0) == pytest.approx(5 * 1.0 + 2 * 3.0)


def test_the_end_is_not_before_that_of_the_longest_that_runs() -> None:
    progress = made([0.1] * 9 + [50.0])
    for worker in range(1, 9):
        start(progress, worker, 100.0, worker=worker)
    start(progress, 9, 100.0)
    for worker in range(1, 9):
        progress.event(e.Finished(worker=worker, test=worker, at=100.1))
    assert progress.remaining(101.0) == pytest.approx(49.0)


def test_failures_are_counted_and_the_latest_are_shown() -> None:
    progress = made()
    run(progress, range(5), 100.0)
    for number in range(5):
        progress.failed(NODEIDS[number], f"reason {number}" if number else "")
    lines = text(progress.block(105.0, 9))
    assert lines[0].endswith(", 5 failed")
    assert lines[1:] == [f"  FAILED test_a.py::test_{n} - reason {n}" for n in (2, 3, 4)]


def test_running_tests_have_a_line_each_in_the_order_of_their_workers() -> None:
    progress = made()
    progress.command(StartWorker(5, slot=1), 99.0)
    start(progress, 3, 100.0, worker=5)
    start(progress, 7, 101.5)
    start(progress, 4, 101.0, worker=2, strand=3)
    assert text(progress.block(102.0, 8))[1:] == [
        "  gw0    0.5 s  test_a.py::test_7",
        "  gw1    2.0 s  test_a.py::test_3",
        "  gw2.3   1.0 s  test_a.py::test_4",
    ]


def test_where_there_are_more_than_lines_the_oldest_are_shown() -> None:
    progress = made()
    for number in range(8):
        start(progress, number, 100.0 + number, worker=9 - number)
    lines = text(progress.block(110.0, 4))
    assert [line.split()[3] for line in lines[1:3]] == ["test_a.py::test_1", "test_a.py::test_0"]
    assert lines[3] == "  and 6 more"


def test_a_slow_test_is_named_so() -> None:
    progress = made([1.0] * 9 + [100.0])
    start(progress, 0, 100.0)
    start(progress, 9, 100.0, worker=1)
    assert text(progress.block(104.0, 8))[1:] == [
        "  gw0    4.0 s  test_a.py::test_0",
        "  gw1    4.0 s  test_a.py::test_9",
    ]
    slow, usual = progress.block(106.0, 8)[1:]
    assert slow[-1] == Part("  slow", "yellow")
    assert text([usual]) == ["  gw1    6.0 s  test_a.py::test_9"]


def test_what_a_dead_worker_ran_runs_no_longer() -> None:
    progress = made()
    start(progress, 0, 100.0, strand=1)
    start(progress, 1, 100.0, strand=2)
    progress.event(e.WorkerDied(worker=0, running=0, at=101.0))
    assert text(progress.block(102.0, 8)) == ["10% of 10 tests, 2 s"]


def test_a_test_that_runs_again_is_counted_once() -> None:
    progress = made()
    run(progress, [0, 0, 1], 100.0)
    assert head(progress, 103.0).startswith("20% of 10 tests")


def test_tests_can_be_counted() -> None:
    progress = made(by_count=True)
    run(progress, range(4), 100.0)
    assert head(progress, 104.0) == "4/10 tests, 4 s, about 6 s left"


def test_a_line_names_those_that_have_run_for_longest() -> None:
    progress = made()
    for number in range(5):
        start(progress, number, 100.0 + number, worker=number)
    assert progress.line(165.0) == (
        "braid: 0% of 10 tests, 1:05; running: test_a.py::test_0 (gw0, 1:05), test_a.py::test_1 "
        "(gw1, 1:04), test_a.py::test_2 (gw2, 1:03) and 2 more"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_times_are_short(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


LONG = Name("tests/test_a.py::test_long_name_of_a_test")
WITH_REASON: Line = [Part("one "), Name("test_a.py::test_1"), Part(" - a long reason")]
FITTED: dict[str, tuple[Line, int, str]] = {
    "short": ([Part("one "), Name("two", "red")], 20, "one two"),
    "name": ([Part("one "), LONG], 34, "one ...y::test_long_name_of_a_test"),
    "rest": (WITH_REASON, 30, "one test_a.py::test_1 - a l..."),
    "wide": ([Part("\u6f22\u5b57\u6f22\u5b57")], 7, "\u6f22\u5b57..."),
    "odd": ([Part("a\x1b[31mb\tc")], 20, "a?[31mb?c"),
    "tiny": ([Part("12345")], 2, "12"),
}


@pytest.mark.parametrize(("line", "width", "text"), FITTED.values(), ids=FITTED)
def test_a_line_is_cut_to_the_width(line: Line, width: int, text: str) -> None:
    found = "".join(piece for piece, _ in fitted(line, width))
    assert found == text
