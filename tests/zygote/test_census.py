"""One open thing more is one reason more, and none if copies can share it."""

from __future__ import annotations

import os
import select
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.zygote import census as module
from pytest_braid.zygote import inheritance
from pytest_braid.zygote.census import census, held_by_controller

Opens = Callable[[Path], AbstractContextManager[Any]]


@contextmanager
def thread(_: Path) -> Iterator[None]:
    end = threading.Event()
    started = threading.Thread(target=end.wait, name="poller")
    started.start()
    yield
    end.set()
    started.join()


@contextmanager
def child(_: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield
        process.communicate(b"\n")


@contextmanager
def ended_child(_: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield


@contextmanager
def connected(_: Path) -> Iterator[None]:
    server = socket.create_server(("127.0.0.1", 0))
    with socket.create_connection(server.getsockname()):
        accepted = server.accept()[0].detach()
        server.close()
        hidden = socket.socket(fileno=accepted)
        yield
        hidden.close()


@contextmanager
def named(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path / "s"))
        yield


@contextmanager
def pair(_: Path) -> Iterator[None]:
    one, two = socket.socketpair()
    with one, two:
        yield


@contextmanager
def database(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path / "data")) as db:
        with db:
            db.execute("CREATE TABLE t (n)")
        yield


@contextmanager
def datagrams(_: Path) -> Iterator[None]:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", 9))
        yield


@contextmanager
def nothing(_: Path) -> Iterator[None]:
    yield


REASONS: dict[str, tuple[Opens, int, str]] = {
    "nothing": (nothing, 0, ""),
    "thread": (thread, 1, "thread 'poller' is running"),
    "child process": (child, 1, "child process "),
    "child process that has ended": (ended_child, 0, ""),
    "listening socket": (
        lambda _: socket.create_server(("127.0.0.1", 0)),
        1,
        "bound to ('127.0.0.1', ",
    ),
    "listening IPv6 socket": (
        lambda _: socket.create_server(("::1", 0), family=socket.AF_INET6),
        1,
        "bound to ('::1', ",
    ),
    "named socket": (named, 1, "bound to '/"),
    "connected sockets": (connected, 2, "connected to ('127.0.0.1', "),
    "pair": (pair, 2, "connected (one end of a pair)"),
    "unconnected socket": (lambda _: socket.socket(), 0, ""),
    "datagram socket": (datagrams, 0, ""),
    "bound datagram socket": (
        lambda _: _bound(socket.socket(type=socket.SOCK_DGRAM)),
        1,
        "bound to ('127.0.0.1', ",
    ),
    "epoll object": (lambda _: closing(select.epoll()), 1, "an event loop is open (an epoll"),
    "database": (database, 1, "an SQLite connection to /"),
    "new database": (
        lambda path: closing(sqlite3.connect(path / "new")),
        1,
        "an SQLite connection to /",
    ),
    "database in memory": (lambda _: closing(sqlite3.connect(":memory:")), 0, ""),
    "file": (lambda path: (path / "file").open("w+"), 0, ""),
}


def _bound(udp: socket.socket) -> socket.socket:
    udp.bind(("127.0.0.1", 0))
    return udp


def descriptors() -> tuple[int, ...]:
    """Those that are open. To say whose one of them is takes a look at the whole heap, which is
    large where many tests have been collected."""
    found = [*Path("/proc/self/fd").iterdir()]
    return tuple(int(each.name) for each in found if each.is_symlink())  # not the folder's own


@pytest.mark.parametrize("thing", REASONS)
def test_each_open_thing_is_a_reason_of_its_own(
    thing: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    opens, count, text = REASONS[thing]
    if ":" in text and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    before = census(pytestconfig, others := descriptors())
    with opens(tmp_path):
        during = census(pytestconfig, others)
    added = [reason for reason in during if reason not in before]
    assert len(added) == count
    assert all(text in reason and "in a fixture instead" in reason for reason in added)
    assert census(pytestconfig, others) == before


def test_braid_s_own_descriptors_are_no_reason(pytestconfig: pytest.Config) -> None:
    one, two = socket.socketpair()
    with one, two:
        ours = (one.fileno(), two.fileno())
        assert len(census(pytestconfig, ours)) == len(census(pytestconfig, ())) - 2


@pytest.mark.parametrize("other", [nothing, child], ids=["alone", "beside-a-child"])
def test_what_the_process_was_started_with_is_no_reason(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, other: Opens
) -> None:
    """The child from before stands for one that another test has left in this process, as a test
    of ``multiprocessing`` leaves its resource tracker."""
    for name in ("_inherited", "_adopted"):
        monkeypatch.setattr(inheritance, name, getattr(inheritance, name))
    with other(tmp_path):
        before = census(pytestconfig, ())
        with pair(tmp_path), child(tmp_path):
            inheritance.remember_inheritance()
            after = census(pytestconfig, ())
            assert after == [r for r in before if not r.startswith(("a socket ", "child process "))]
            with pair(tmp_path), child(tmp_path):
                assert len(census(pytestconfig, ())) == 3 + len(after)


def test_threads_and_children_are_what_a_fork_would_hide(tmp_path: Path) -> None:
    before = held_by_controller()
    with thread(tmp_path), child(tmp_path), pair(tmp_path):
        added = [reason for reason in held_by_controller() if reason not in before]
    assert [reason.split()[0] for reason in added] == ["thread", "child"]


def test_a_thread_of_an_unknown_library_is_a_reason_and_a_known_pool_is_none(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own low-level thread stands for that of a library: no object knows of it."""
    import _thread

    release, ended = _thread.allocate_lock(), _thread.allocate_lock()
    release.acquire()
    ended.acquire()

    def wait() -> None:
        release.acquire()
        ended.release()

    _thread.start_new_thread(wait, ())
    told = census(pytestconfig, ())
    monkeypatch.setattr(module, "_NATIVE_POOLS", ("libc.so", "libc-", "musl"))  # "known"
    silent = census(pytestconfig, ())
    release.release()
    ended.acquire()
    assert any("native thread(s) not started by Python" in reason for reason in told)
    assert not any("native thread" in reason for reason in silent)


def project_hook() -> None: ...


def test_project_code_is_told_from_installed_code_and_from_pytest_s_own(tmp_path: Path) -> None:
    """pytest's own suite runs pytest from below its rootdir."""
    root = Path(__file__).parents[1]
    line = project_hook.__code__.co_firstlineno
    place = module._place_below  # noqa: SLF001 -- the decision alone
    assert place(root, project_hook) == f"zygote/test_census.py:{line}"
    assert place(tmp_path, project_hook) is None
    assert place(Path("/"), pytest.Session.pytest_runtest_logreport) is None
    installed = eval(compile("lambda: 0", "/p/.venv/lib/site-packages/x.py", "eval"))
    assert place(Path("/p"), installed) is None
    assert place(Path("/p"), eval(compile("lambda: 0", "/p/x.py", "eval"))) == "x.py:1"
    assert place(Path("/"), print) is None
