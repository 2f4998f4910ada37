"""The file in which the history lies: read by whoever likes, changed by one process at a time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_braid.history.record import VERSION, History

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NAME = "history.json"
FOLDER = "braid"

_PATIENCE = 10.0
"""Seconds to wait for another run that writes: it needs a fraction of one."""

_NAP = 0.02

_IGNORED = "It is ignored"


class Loaded(NamedTuple):
    """A history, and what is wrong with its file, in words, if anything is."""

    history: History
    fault: str | None = None


class Busy(OSError):  # noqa: N818 -- it is not an error of this program
    """Another process holds the lock of the history for too long."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def __str__(self) -> str:
        return (
            f"another process has had the lock {str(self.path)!r} for {_PATIENCE:g} s: nothing was "
            "written. It is let go when that process ends"
        )


def load(path: Path) -> Loaded:
    """The history in this file; an empty one if there is none that can be read.

    A file with something else in it is set aside: it gets the name ``history.json.broken``.
    """
    known = _read(path)
    if known.fault is None:
        return known
    try:
        with _locked(path.with_suffix(".lock")):
            return _load_locked(path)
    except OSError:
        return Loaded(History(), f"{known.fault}. {_IGNORED}")


def _load_locked(path: Path) -> Loaded:
    """Another process may have set the broken file aside, and have written a new one."""
    known = _read(path)
    if known.fault is None:
        return known
    return Loaded(History(), f"{known.fault}. {_set_aside(path)}")


def _read(path: Path) -> Loaded:
    try:
        return Loaded(parse(path.read_bytes()))
    except OSError:
        return Loaded(History())
    except ValueError as error:
        return Loaded(History(), f"{path}: {error}")


def parse(data: bytes) -> History:
    """The history that these bytes hold.

    Raises:
        ValueError: they hold none, or one of another version.
    """
    try:
        history = msgspec.json.decode(data, type=History)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"this is no history of pytest-braid ({error})") from None
    if history.braid != VERSION:
        raise ValueError(
            f"this history has format {history.braid}, and this version of pytest-braid knows "
            f"format {VERSION}"
        )
    return history


def dump(history: History) -> bytes:
    """The bytes of a file: JSON, in one line."""
    return msgspec.json.encode(history) + b"\n"


def change(path: Path, how: Callable[[History], History]) -> Loaded:
    """Replace the history by what ``how`` makes of it; no other process changes it meanwhile.

    Raises:
        OSError: it cannot be written; :class:`Busy` if somebody else does not stop to write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        known = _load_locked(path)
        changed = how(known.history)
        # A process that dies here leaves this file, and the next one writes it anew.
        new = path.with_suffix(".new")
        new.write_bytes(dump(changed))
        new.replace(path)
    return Loaded(changed, known.fault)


def _set_aside(path: Path) -> str:
    aside = path.with_name(path.name + ".broken")
    try:
        path.replace(aside)
    except OSError:
        return _IGNORED
    return f"It was set aside as {aside.name}, and a new one begins"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The kernel lets go of it when this process ends, however it does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    latest = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > latest:
                raise Busy(path) from None
            time.sleep(_NAP)
        else:
            return
