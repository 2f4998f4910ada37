"""The controller's one child: the zygote, forked, or a process that spawns workers.

What both of them need is imported before the fork, and so only once. What one of them needs is
imported behind it, by each on a core of its own.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import IO, NamedTuple

import pytest

from pytest_braid.seam import interpreter
from pytest_braid.wire.kit import Place, ZygoteKit

Begin = Callable[[pytest.Config, socket.socket, ZygoteKit], None]


class Child(NamedTuple):
    """What the controller has of it."""

    pid: int
    wait: Callable[[], int]
    """Waits for its end, which it gives as ``os.waitstatus_to_exitcode`` does."""
    socket: socket.socket
    files: list[IO[bytes]]
    """What it prints: captured standard output, captured standard error, the rest."""
    place: Place


def fork_zygote(begin: Begin, config: pytest.Config, *, redirect: bool) -> Child | None:
    """Fork; in the child ``begin`` is called, and the answer is ``None``.

    The heap is frozen meanwhile, in both processes. ``redirect``: what the child prints outside of
    captures goes to a file, too.
    """
    _import_for_both()
    ours, theirs = socket.socketpair()
    files, place, parent = nameless_files(3), Place(), os.getpid()
    interpreter.flush_files()
    seeded = interpreter.seeded_random()
    is_ours_to_thaw = not interpreter.is_frozen()
    interpreter.freeze()
    pid = interpreter.fork()
    if pid == 0:
        interpreter.restore_random(seeded)
        ours.close()
        out, err, log = (os.dup(file.fileno()) for file in files)
        begin(config, theirs, ZygoteKit(out, err, log if redirect else None, place, parent))
        return None
    if is_ours_to_thaw:
        interpreter.keep_frozen()
        interpreter.spare_what_grows()
        config.add_cleanup(interpreter.thaw)
        atexit.unregister(interpreter.leave_heap_alone)
        atexit.register(interpreter.leave_heap_alone)
    theirs.close()
    return Child(pid, partial(_wait, pid), ours, files, place)


def _import_for_both() -> None:
    from pytest_braid.seam import hooks, junit, live, output, reports, session
    from pytest_braid.wire import channel, messages

    _ = hooks, junit, live, output, reports, session, channel, messages


def _wait(pid: int) -> int:
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # a plugin ignores SIGCHLD, and the kernel has reaped it
        return 0
    return os.waitstatus_to_exitcode(status)


_SPAWNER = """
import sys
sys.path[:] = [*filter(None, sys.path), *sys.argv[3:]]
from pytest_braid.zygote.spawner import main
main()
"""
"""Modules of the project come behind those of the interpreter, whose names they may have."""


def start_spawner(flags: Sequence[str], *, redirect: bool) -> Child:
    """Start the process that spawns workers, with the interpreter's ``flags``."""
    import subprocess

    ours, theirs = socket.socketpair()
    files = nameless_files(3)
    log = files[-1] if redirect else None
    process = subprocess.Popen(  # noqa: S603 -- this interpreter
        [sys.executable, *flags, "-c", _SPAWNER, str(theirs.fileno()), str(os.getpid())]
        + [path for path in sys.path if path],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[theirs.fileno()],
        process_group=0,
    )
    theirs.close()
    return Child(process.pid, process.wait, ours, files, Place())


def nameless_files(count: int) -> list[IO[bytes]]:
    """Files without a name, in memory where the kernel has such; whoever asks closes them.

    On a disk they would cost more than the fork of the worker that they are for.
    """
    if hasattr(os, "memfd_create"):
        return [os.fdopen(os.memfd_create("braid"), "w+b") for _ in range(count)]
    return [tempfile.TemporaryFile() for _ in range(count)]
