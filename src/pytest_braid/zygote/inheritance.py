"""What a process was started with, and what it has of its own since: facts of the operating system.

Asked for in every run with workers before there is a fork, so this module imports little.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

_inherited: frozenset[tuple[int, int]] = frozenset()
"""Sockets that were open before any project code ran: (descriptor, inode)."""

_adopted: frozenset[str] = frozenset()
"""Child processes from before: of a shell that has become this process with ``exec``."""


def remember_inheritance() -> None:
    """Remember what this process was started with; it is nobody's here."""
    global _inherited, _adopted  # noqa: PLW0603 -- facts of this process
    _inherited = frozenset(
        (int(name), number)
        for name in listed("/proc/self/fd")
        if (number := _socket_number(int(name))) is not None
    )
    _adopted = frozenset(_children())


def is_inherited(descriptor: int) -> bool:
    """Whether it is a socket from before."""
    return (descriptor, _socket_number(descriptor)) in _inherited


def own_threads() -> list[threading.Thread]:
    """Those that Python code has started."""
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def own_children() -> list[str]:
    """Process ids of children that run; one that is only not waited for yet does not."""
    return [pid for pid in _children() if pid not in _adopted and _is_running(pid)]


def listed(folder: str) -> list[str]:
    """The names in a folder of ``/proc``; none where there is no such thing."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _socket_number(descriptor: int) -> int | None:
    try:
        facts = os.fstat(descriptor)
    except OSError:
        return None
    return facts.st_ino if stat.S_ISSOCK(facts.st_mode) else None


def _children() -> Iterator[str]:
    for task in listed("/proc/self/task"):
        try:
            yield from Path(f"/proc/self/task/{task}/children").read_text("ascii").split()
        except OSError:
            continue


def _is_running(pid: str) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="ascii", errors="replace")
            .rpartition(")")[2]
            .split()[0]
            != "Z"
        )
    except OSError:
        return False
