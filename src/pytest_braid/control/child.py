"""The controller's one fork. What both processes need besides is imported behind it, by each on a
core of its own, so this module imports little."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import IO, NamedTuple

import pytest

from pytest_braid.seam import interpreter
from pytest_braid.wire.kit import Place, ZygoteKit

Begin = Callable[[pytest.Config, socket.socket, ZygoteKit], None]


class Child(NamedTuple):
    """What the controller has of the zygote."""

    pid: int
    socket: socket.socket
    files: list[IO[bytes]]
    """What it prints: captured standard output, captured standard error, the rest."""
    place: Place


def fork_zygote(begin: Begin, config: pytest.Config, *, redirect: bool) -> Child | None:
    """Fork; in the child ``begin`` is called, and the answer is ``None``.

    The heap is frozen meanwhile, in both processes. ``redirect``: what the child prints outside of
    captures goes to a file, too.
    """
    ours, theirs = socket.socketpair()
    files, place, parent = nameless_files(3), Place(), os.getpid()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    interpreter.flush_files()
    seeded = interpreter.seeded_random()
    is_ours_to_thaw = not gc.get_freeze_count()
    interpreter.freeze()
    pid = interpreter.fork()
    if pid == 0:
        interpreter.restore_random(seeded)
        ours.close()
        out, err, log = (os.dup(file.fileno()) for file in files)
        begin(config, theirs, ZygoteKit(out, err, log if redirect else None, place, parent))
        return None
    if is_ours_to_thaw:
        config.add_cleanup(interpreter.thaw)
    theirs.close()
    return Child(pid, ours, files, place)


def nameless_files(count: int) -> list[IO[bytes]]:
    """Files without a name, in memory where the kernel has such; whoever asks closes them.

    On a disk they would cost more than the fork of the worker that they are for.
    """
    if hasattr(os, "memfd_create"):
        return [os.fdopen(os.memfd_create("braid"), "w+b") for _ in range(count)]
    return [tempfile.TemporaryFile() for _ in range(count)]
