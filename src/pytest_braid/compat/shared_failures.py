"""The failure of one process's setup, told to tests of others."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest


class SharedFixtureError(Exception):
    """A fixture that all processes share could not be set up, in another one than this."""


_OUTCOMES: dict[str, Any] = {
    "skip": pytest.skip.Exception,
    "xfail": pytest.xfail.Exception,
    "fail": pytest.fail.Exception,
}
"""What pytest raises, and cannot pickle; a class before those that it is derived from."""


def packed(error: BaseException, worker: str) -> bytes:
    """An exception for others, and what is to be said of it."""
    text = "".join(traceback.format_exception(error))
    outcome = next((name for name, kind in _OUTCOMES.items() if isinstance(error, kind)), None)
    what = str(error) if outcome else type(error).__name__
    return pickle.dumps((outcome, what, _pickled(error), worker, text))


def _pickled(error: BaseException) -> bytes:
    """Empty if that cannot be, or if it is nothing that should end another process, too."""
    if not isinstance(error, Exception):
        return b""
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301 -- ours, a moment ago
    except Exception:  # noqa: BLE001 -- of what kind it cannot be told is open
        return b""
    return data


def unpacked(data: bytes, fixture: str) -> BaseException:
    """The exception, or one that shows it, to be raised in another process."""
    outcome, what, pickled, worker, text = pickle.loads(data)  # noqa: S301 -- of a process of this run
    error: BaseException = _OUTCOMES[outcome](what) if outcome else _loaded(pickled, what)
    if outcome != "skip":
        error.add_note(
            f"The shared fixture {fixture!r} is set up once for the whole run. That was in worker "
            f"{worker!r}, and failed:\n{text}"
        )
    return error


def _loaded(pickled: bytes, what: str) -> Exception:
    try:
        error: Exception = pickle.loads(pickled)  # noqa: S301 -- of a process of this run
    except Exception:  # noqa: BLE001 -- there is none, or its class is not found here
        return SharedFixtureError(what)
    return error


def crashed(fixture: str, how: str) -> SharedFixtureError:
    """What is raised where the process has died that was to set it up."""
    return SharedFixtureError(
        f"the shared fixture {fixture!r} is set up once for the whole run, and that has ended its "
        f"process: {how}"
    )
