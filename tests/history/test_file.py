from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pytest_braid.history import file
from pytest_braid.history.file import Busy, change, dump, load
from pytest_braid.history.record import History, TestRecord

KNOWN = History({"test_a.py::test_1": TestRecord(call=1.0, waits=0.5, memory=3, runs=2, day=9)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "history.json"


def test_what_is_written_is_read(path: Path) -> None:
    change(path, lambda _: KNOWN)
    assert load(path) == (KNOWN, None)


def test_there_is_none_before_the_first(path: Path) -> None:
    assert load(path) == (History(), None)


@pytest.mark.parametrize("data", [b"", b"{", b"[1, 2]", b'{"tests": 3}', b"\xff\xfe", b"\0" * 99])
def test_a_broken_file_is_set_aside(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    found = load(path)
    assert found.history == History()
    assert found.fault is not None
    assert found.fault.startswith(f"{path}: this is no history of pytest-braid (")
    assert found.fault.endswith("It was set aside as history.json.broken, and a new one begins")
    assert path.with_name("history.json.broken").read_bytes() == data
    assert load(path) == (History(), None)


def test_a_file_of_another_format_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"braid": 2}')
    fault = load(path).fault
    assert fault is not None
    assert "has format 2, and this version of pytest-braid knows format 1" in fault


def test_a_file_that_another_process_mends_meanwhile_is_not_set_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"{")
    locked = file._locked  # noqa: SLF001 -- the moment between reading and having the lock

    def mended(lock: Path) -> AbstractContextManager[None]:
        path.write_bytes(dump(KNOWN))
        return locked(lock)

    monkeypatch.setattr(file, "_locked", mended)
    assert load(path) == (KNOWN, None)
    assert not path.with_name("history.json.broken").exists()


def test_a_broken_file_is_ignored_while_another_process_has_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_PATIENCE", 0.0)
    monkeypatch.setattr(file, "_NAP", 0.0)

    def load_meanwhile(known: History) -> History:
        path.write_bytes(b"{")
        fault = load(path).fault
        assert fault is not None
        assert fault.endswith("It is ignored")
        return known

    change(path, load_meanwhile)
    assert not path.with_name("history.json.broken").exists()


def add(path: Path, name: str, times: int) -> None:
    for number in range(times):
        one = {f"{name}{number}": TestRecord()}
        change(path, lambda known, one=one: History(known.tests | one))  # type: ignore[misc]


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=add, args=(path, name, 20)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(load(path).history.tests) == 60


def die_writing(path: Path) -> None:
    def die(_: History) -> History:
        path.with_suffix(".new").write_bytes(b"half of it")
        os.kill(os.getpid(), signal.SIGKILL)
        return History()

    change(path, die)


def test_a_process_that_dies_while_it_writes_leaves_the_history_and_no_lock(path: Path) -> None:
    change(path, lambda _: KNOWN)
    context = multiprocessing.get_context("fork")
    dies = context.Process(target=die_writing, args=(path,))
    dies.start()
    dies.join()
    assert dies.exitcode == -signal.SIGKILL
    assert load(path).history == KNOWN
    add(path, "after", 1)
    assert load(path).history.tests.keys() == {"test_a.py::test_1", "after0"}


def test_who_waits_too_long_for_the_lock_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_PATIENCE", 0.0)
    monkeypatch.setattr(file, "_NAP", 0.0)

    def change_again(_: History) -> History:
        with pytest.raises(Busy) as busy:
            change(path, lambda known: known)
        assert str(busy.value) == (
            f"another process has had the lock {str(path.with_suffix('.lock'))!r} for 0 s: nothing "
            "was written. It is let go when that process ends"
        )
        return KNOWN

    change(path, change_again)
    assert load(path).history == KNOWN
