"""Messages name the object that holds a descriptor, and where it is found."""

from __future__ import annotations

import asyncio
import gc
import socket
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pytest_braid.seam import holders


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    module = ModuleType("project_module")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield module
    module.__dict__.clear()


def test_a_thread_is_told_by_the_function_it_runs() -> None:
    def work() -> None: ...

    told = holders.origin_of_thread(threading.Thread(target=work))
    assert told == f"{work.__qualname__}, {__file__}:{work.__code__.co_firstlineno}"


def test_a_thread_without_a_function_is_told_by_its_class() -> None:
    class Worker(threading.Thread): ...

    assert holders.origin_of_thread(Worker()) == f"{__name__}.{Worker.__qualname__}"
    assert holders.origin_of_thread(threading.Timer(1, int)) == "threading.Timer"
    assert holders.origin_of_thread(threading.Thread(target=int)) == "threading.Thread"


def test_a_socket_is_found_by_its_descriptor() -> None:
    with socket.socket() as one, socket.socket() as two:
        assert holders.socket_object(one.fileno()) is one
        assert holders.socket_object(two.fileno()) is two
    assert holders.socket_object(10_000) is None


def test_an_event_loop_and_its_own_sockets_are_found() -> None:
    loop = asyncio.SelectorEventLoop()
    number = loop._selector.fileno()  # type: ignore[attr-defined] # noqa: SLF001 -- to compare
    try:
        assert holders.event_loop_of(number) is loop
        assert holders.is_of_event_loop(loop._ssock)  # noqa: SLF001
        with socket.socket() as other:
            assert not holders.is_of_event_loop(other)
    finally:
        loop.close()
    assert holders.event_loop_of(number) is None


def test_a_connection_is_found_by_its_file(tmp_path: Path) -> None:
    one, two = (sqlite3.connect(tmp_path / name) for name in ("one", "two"))
    closed = sqlite3.connect(tmp_path / "closed")
    closed.close()
    one.row_factory = lambda *_: pytest.fail("the project's own code was called")
    try:
        assert holders.connection_to(str(tmp_path / "one")) is one
        assert holders.connection_to(str(tmp_path / "two")) is two
        assert holders.connection_to(str(tmp_path / "closed")) is None
    finally:
        one.close()
        two.close()


def test_a_search_keeps_nothing_alive(tmp_path: Path) -> None:
    """Not even what it has found, and without help of the garbage collector."""

    class Thing: ...

    gc.disable()
    try:
        thing = Thing()
        dies = weakref.ref(thing)
        with socket.socket() as found:
            assert holders.socket_object(found.fileno()) is found
        db = sqlite3.connect(tmp_path / "data")
        assert holders.connection_to(str(tmp_path / "data")) is db
        db.close()
        del thing
        assert dies() is None
    finally:
        gc.enable()


def test_a_global_is_told_by_its_name(module: ModuleType) -> None:
    held = object()
    assert holders.named(held) == repr(held)
    vars(module)["held"] = held
    assert holders.named(held) == f"project_module.held, {held!r}"
