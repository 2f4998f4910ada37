"""What fixtures of pytest-shared-session-scope are made of: stores, tokens, told failures."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.compat import shared_failures
from pytest_braid.compat.shared_session_scope import (
    CleanupToken,
    FileStore,
    JsonStore,
    LocalFileStoreMixin,
    PickleStore,
    SetupToken,
    StoreValueNotExists,
    shared_session_scope_json,
)
from pytest_braid.compat.shared_values import asker_of


class Factory:
    """A ``tmp_path_factory`` of a worker."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def getbasetemp(self) -> Path:
        return self._run / "popen-gw0"


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    return {"tmp_path_factory": Factory(tmp_path)}


@pytest.mark.parametrize(
    ("store", "data"),
    [(FileStore(), "text\n"), (JsonStore(), {"a": [1]}), (PickleStore(), {1: (2, {3})})],
)
def test_what_is_stored_is_read(store: Any, data: object, values: dict[str, Any]) -> None:
    assert store.fixtures == ["tmp_path_factory"]
    with store.lock("conftest.a.0", values):
        store.write("conftest.a.0", data, values)
        assert store.read("conftest.a.0", values) == data


def test_what_is_not_stored_is_said_to_be_where(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(StoreValueNotExists) as error:
        FileStore().read("conftest.a.0", values)
    assert str(error.value) == f"there is no file {tmp_path}/conftest.a.0.json"


def _take(run: Path, told: Any) -> None:
    with FileStore().lock("a", {"tmp_path_factory": Factory(run)}):
        told.send(os.getpid())
        told.recv()
        os._exit(1)


def test_the_lock_of_a_dead_process_is_free(tmp_path: Path, values: dict[str, Any]) -> None:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_take, args=(tmp_path, theirs))
    process.start()
    ours.recv()
    ours.send("die")
    with FileStore().lock("a", values):
        process.join()
    assert process.exitcode == 1


def test_a_store_of_ones_own_says_how_to_read_and_write(values: dict[str, Any]) -> None:
    class Upper(LocalFileStoreMixin):
        def write(self, identifier: str, data: str, fixture_values: dict[str, Any]) -> None:
            path = self._get_path(identifier, fixture_values["tmp_path_factory"])
            path.write_text(data.upper(), encoding="utf-8")

    Upper().write("a", "text", values)
    assert FileStore().read("a", values) == "TEXT"


def test_tokens_are_what_they_were_in_both_versions() -> None:
    text: str = "last"
    assert text == CleanupToken.LAST
    assert f"{CleanupToken.LAST} {SetupToken.FIRST}" == "CleanupToken.LAST SetupToken.FIRST"


class OddError(Exception):
    def __init__(self, one: str, _other: str) -> None:
        super().__init__(one)


def told(error: BaseException) -> BaseException:
    return shared_failures.unpacked(shared_failures.packed(error, "gw3"), "conftest.db")


def test_an_exception_is_told_with_the_worker_and_its_traceback() -> None:
    with pytest.raises(ValueError, match="no room") as raised:
        raise ValueError("no room")
    error = told(raised.value)
    assert type(error) is ValueError
    (note,) = error.__notes__
    assert note.startswith(
        "The shared fixture 'conftest.db' is set up once for the whole run. That was in worker "
        "'gw3', and failed:\nTraceback (most recent call last):\n"
    )
    assert note.endswith("ValueError: no room\n")


@pytest.mark.parametrize("error", [OddError("one", "other"), KeyboardInterrupt(), SystemExit(3)])
def test_what_does_not_travel_is_told_by_its_name(error: BaseException) -> None:
    again = told(error)
    assert type(again) is shared_failures.SharedFixtureError
    assert str(again) == type(error).__name__


@pytest.mark.parametrize("raises", [pytest.skip, pytest.fail, pytest.xfail])
def test_an_outcome_of_pytest_is_the_same_elsewhere(raises: Any) -> None:
    with pytest.raises(raises.Exception) as raised:
        raises("for a reason")
    again = told(raised.value)
    assert type(again) is type(raised.value)
    assert str(again) == "for a reason"


def test_a_crash_is_told_in_words() -> None:
    assert str(shared_failures.crashed("conftest.db", "worker 'gw0' crashed, it was killed")) == (
        "the shared fixture 'conftest.db' is set up once for the whole run, and that has ended its "
        "process: worker 'gw0' crashed, it was killed"
    )


def test_the_worker_of_another_plugin_is_refused() -> None:
    plugins = SimpleNamespace(get_plugin=lambda _name: None)
    with pytest.raises(pytest.UsageError) as error:
        asker_of(SimpleNamespace(workerinput={}, pluginmanager=plugins))
    assert str(error.value) == (
        "the fixtures of pytest_braid.compat.shared_session_scope are shared by the workers of "
        "pytest-braid, and this worker is another plugin's: do not disable braid (-p no:braid), or "
        "run without workers"
    )


def test_the_function_itself_stays_as_it_is() -> None:
    def function(worker_id: str) -> str:
        return worker_id

    before = {**vars(function)}
    shared_session_scope_json()(function)
    assert vars(function) == before
