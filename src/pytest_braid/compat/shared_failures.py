"""The failure of one process's setup, told to tests of others."""

from __future__ import annotations

import pickle
import traceback

import pytest


class SharedFixtureError(Exception):
    """A fixture that all processes share could not be set up, in another one than this."""


def packed(error: BaseException, worker: str) -> bytes:
    """An exception for others, and what is to be said of it."""
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301 -- ours, a moment ago
    except Exception:  # noqa: BLE001 -- of what kind it cannot be told is open
        data = b""
    return pickle.dumps((data, type(error).__name__, worker, text))


def unpacked(data: bytes, fixture: str) -> BaseException:
    """The exception, or one that shows it, to be raised in another process."""
    inner, kind, worker, text = pickle.loads(data)  # noqa: S301 -- of a process of this run
    told = (
        f"The shared fixture {fixture!r} is set up once for the whole run. That was in worker "
        f"{worker!r}, and failed:\n{text}"
    )
    try:
        error: BaseException = pickle.loads(inner) if inner else SharedFixtureError(kind)  # noqa: S301
    except Exception:  # noqa: BLE001 -- it is defined where this process does not find it
        error = SharedFixtureError(kind)
    if not isinstance(error, pytest.skip.Exception | pytest.fail.Exception | Exception):
        error = SharedFixtureError(kind)  # what has ended that process need not end this one
    if not isinstance(error, pytest.skip.Exception):
        error.add_note(told)
    return error


def crashed(fixture: str, how: str) -> SharedFixtureError:
    """What is raised where the process has died that was to set it up."""
    return SharedFixtureError(
        f"the shared fixture {fixture!r} is set up once for the whole run, and that has ended its "
        f"process: {how}"
    )
