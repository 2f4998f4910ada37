"""What the collected session holds that copies of it cannot share.

A forked worker is a copy: memory is its own from then on, but threads do not come along, and a
descriptor stays one thing that all copies pull at. The census looks at facts of the operating
system, which are few and cheap, and searches the heap for a name only to say whose it is.
"""

from __future__ import annotations

import fcntl
import inspect
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.seam import holders, output, session
from pytest_braid.zygote.inheritance import is_inherited, listed, own_children, own_threads

_WAY_OUT = "start it in a fixture instead"

_NATIVE_POOLS = ("openblas", "libmkl", "libgomp", "libiomp", "libomp", "blis", "libarmpl")
"""Libraries whose thread pools come back after a fork, matched in the names of loaded files.

OpenBLAS, BLIS: ``pthread_atfork`` handlers of their own (OpenBLAS ``driver/others/blas_server.c``);
MKL and the Intel and LLVM OpenMP runtimes likewise (``kmp_runtime.cpp``, ``__kmp_atfork_child``).
GNU's libgomp starts its pool anew if the process that forks has not computed in parallel itself.
"""

_LEAVING = 0.2
"""Seconds in which a thread that Python has seen end may not have left the kernel yet: Python waits
for that since 3.13."""

_STDERR = 2

_DATABASE_HEADER = b"SQLite format 3\x00"


def held_by_controller() -> list[str]:
    """Reasons that a fork would hide: threads and children that conftests have started in the
    controller do not come along into the zygote."""
    return [*_python_threads(), *_child_processes()]


def census(config: pytest.Config, own: tuple[int, ...]) -> list[str]:
    """Every reason against forking, each a sentence that names the thing, where it comes from and
    the way out. ``own`` are braid's own descriptors."""
    probes = (output.probe_capture(config), session.probe_basetemp(config))
    return [
        *(reason for reason in probes if reason),
        *_python_threads(),
        *_native_threads(),
        *_child_processes(),
        *_descriptors(own),
    ]


def paired_hooks(config: pytest.Config) -> Iterator[str]:
    """Project code that begins something with the session and ends it with the session.

    It has begun once, in this process, and would end once in each worker.
    """
    hooks = config.hook
    starts = {impl.plugin: impl for impl in hooks.pytest_sessionstart.get_hookimpls()}
    for impl in hooks.pytest_sessionfinish.get_hookimpls():
        start = starts.get(impl.plugin)
        place = None if start is None else _place_below(config.rootpath, start.function)
        if place is not None:
            yield (
                f"{place} implements pytest_sessionstart and pytest_sessionfinish: what the one "
                "has begun once, the other would end once in each worker; use a fixture of session "
                "scope instead"
            )


def file_locks() -> Iterator[str]:
    """Locks that know who has made them: if no test uses one, it does no harm."""
    for lock in holders.file_locks():
        yield (
            f"a file lock has been made ({holders.named(lock)}), and refuses to be used by a copy "
            "of this process: make it in a fixture instead"
        )


_INSTALLED = {"site-packages", "dist-packages"}


def _place_below(root: Path, function: Callable[..., object]) -> str | None:
    """File, from ``root`` on, and line of a function that is the project's own."""
    code: Any = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or session.is_own(getattr(function, "__module__", "")):
        return None
    path = Path(code.co_filename)
    if not path.is_relative_to(root) or _INSTALLED & {*path.parts}:
        return None
    return f"{path.relative_to(root)}:{code.co_firstlineno}"


def _python_threads() -> Iterator[str]:
    for thread in own_threads():
        origin = holders.origin_of_thread(thread)
        yield f"thread {thread.name!r} is running ({origin}): {_WAY_OUT}"


def _native_threads() -> Iterator[str]:
    """Threads that the interpreter does not know of, unless a known pool explains them."""
    latest = time.monotonic() + _LEAVING
    while (extra := _unknown_threads()) > 0 and time.monotonic() < latest:
        if any(pool in _loaded_libraries() for pool in _NATIVE_POOLS):
            return
        time.sleep(_LEAVING / 100)
    if extra > 0:
        yield (
            f"{extra} native thread(s) not started by Python are running, of a library that is not "
            f"known to survive a fork: {_WAY_OUT}"
        )


def _unknown_threads() -> int:
    return len(listed("/proc/self/task")) - threading.active_count()


def _loaded_libraries() -> str:
    try:
        return Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        return ""


def _child_processes() -> Iterator[str]:
    for pid in own_children():
        yield f"child process {pid} ({_command(pid)}) is running: {_WAY_OUT}"


def _command(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if not any(words):  # it becomes another program at this moment
            words = [Path(f"/proc/{pid}/comm").read_bytes()]
    except OSError:
        return "ended meanwhile"
    return b" ".join(words).decode(errors="replace").strip()[:80]


def _descriptors(own: tuple[int, ...]) -> Iterator[str]:
    """Open descriptors, standard streams and braid's aside."""
    for name in listed("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > _STDERR and descriptor not in own:
            yield from _descriptor(descriptor)


def _descriptor(descriptor: int) -> Iterator[str]:
    try:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return  # the folder's own descriptor, closed by now
    if is_inherited(descriptor):
        return
    if stat.S_ISSOCK(mode):
        yield from _socket(descriptor)
    elif "[eventpoll]" in target:
        loop = holders.event_loop_of(descriptor)
        yield (
            f"an event loop is open ({holders.named(loop) if loop else 'an epoll object'}); copies "
            "would share its descriptors: make it in a fixture instead, or run with -n 0"
        )
    elif stat.S_ISREG(mode) and "sqlite3" in sys.modules:
        yield from _database(descriptor, target)


def _socket(descriptor: int) -> Iterator[str]:
    """A stream that is connected, or anything that others can reach.

    An unconnected socket is only a number, a connected datagram socket (statsd, syslog) only
    sends, and the unnamed pair in which a loop wakes itself is told with its loop.
    """
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        peer, local = _peer(copy), copy.getsockname()
        datagram = copy.type == socket.SOCK_DGRAM
        unnamed = copy.family == socket.AF_UNIX and not local and not peer
    holder = holders.socket_object(descriptor)
    if unnamed and (peer is None or holder is None or holders.is_of_event_loop(holder)):
        return
    if peer is not None and not datagram:
        state = f"connected to {peer!r}" if peer else "connected (one end of a pair)"
    elif peer is None and local and not (isinstance(local, tuple) and local[1] == 0):
        state = f"bound to {local!r}"
    else:
        return
    what = f"descriptor {descriptor}" if holder is None else holders.named(holder)
    yield f"a socket {state} is open ({what}): {_WAY_OUT}"


def _peer(copy: socket.socket) -> Any:
    """The address of the other end, in the form of its family; ``None`` if unconnected."""
    try:
        return copy.getpeername()
    except OSError:
        return None


def _database(descriptor: int, path: str) -> Iterator[str]:
    """An SQLite file. One that is new and empty is known by its connection only."""
    try:
        start = os.pread(descriptor, 16, 0)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return
    may_be_new = not start and flags & os.O_ACCMODE == os.O_RDWR
    if not (start == _DATABASE_HEADER or may_be_new):
        return
    holder = holders.connection_to(path)
    if holder is not None or not may_be_new:
        what = "" if holder is None else f" ({holders.named(holder)})"
        yield (
            f"an SQLite connection to {path} is open{what}, and SQLite forbids using one across a "
            "fork: open it in a fixture instead"
        )
