from __future__ import annotations

from pathlib import Path

import pytest

from pytest_braid.__main__ import main
from pytest_braid.history.file import change, load
from pytest_braid.history.record import FixtureRecord, History, TestRecord

SLOW, QUICK = "test_a.py::test_slow", "test_a.py::test_quick"

KNOWN = History(
    {
        QUICK: TestRecord(call=0.01, waits=0.0, memory=40_000_000),
        SLOW: TestRecord(setup=0.5, call=1.0, teardown=0.25, waits=0.8, runs=3),
    },
    {"::database": FixtureRecord(2.5)},
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".pytest_cache" / "d" / "braid" / "history.json"
    change(path, lambda _: KNOWN)
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(["history", *arguments]) == code
    out, err = capsys.readouterr()
    return (out + err).splitlines()


@pytest.mark.usefixtures("path")
def test_it_shows_the_longest_tests_and_the_fixtures(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys) == [
        "2 tests, 1.76 s, of which they waited 80%",
        "seconds  setup   call    teardown  waits  memory   runs",
        f"1.750    0.500   1.000   0.250     80%             3     {SLOW}",
        f"0.010    0.000   0.010   0.000     0%     40.0 MB  1     {QUICK}",
        "1 fixture that tests share",
        "2.500    ::database",
    ]


@pytest.mark.usefixtures("path")
def test_it_shows_as_many_as_are_asked_for_in_the_order_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = said(capsys, "show", "--sort", "memory", "--count", "1", "test_a")
    assert lines[2].endswith(QUICK)
    assert len(lines) == 3
    (line,) = said(capsys, "show", "test_x")
    assert line == "no test in this history has a node id that begins with 'test_x'"


def test_it_is_found_from_a_folder_below(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    below = path.parent / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert said(capsys)[0].startswith("2 tests")


def test_what_is_exported_is_imported_elsewhere(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out.json", tmp_path / "other"
    assert said(capsys, "export", str(out)) == [f"2 tests and 1 fixture written to {out}"]
    said(capsys, "--cache-dir", str(other), "import", str(out))
    assert load(other / "d" / "braid" / "history.json").history == load(path).history


def test_several_are_merged_into_one(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tmp_path / "more.json", lambda _: History({"test_b.py::test": TestRecord()}))
    (line,) = said(capsys, "merge", str(tmp_path / "more.json"))
    assert line.endswith(f"1 test and 0 fixtures; 3 tests and 1 fixture are in {path} now")


def test_what_is_no_history_is_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("wrong.json").write_text("{]")
    (line,) = said(capsys, "import", "wrong.json", code=1)
    assert line.startswith(
        "python -m pytest_braid history import: wrong.json: this is no history of pytest-braid ("
    )
    assert load(path).history == KNOWN


def test_without_a_history_it_says_where_it_looked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = said(capsys, "--cache-dir", str(tmp_path), code=1)
    assert line == (
        f"python -m pytest_braid history show: there is no history at "
        f"{tmp_path}/d/braid/history.json: a run with workers (-n N) writes one, or name pytest's "
        "cache directory: --cache-dir DIR"
    )
