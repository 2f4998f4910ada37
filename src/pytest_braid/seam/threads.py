"""What a thread has from the thread that started it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

_MARK = "_pytest_braid_values"
_active: dict[int, threading.Thread] = getattr(threading, "_active", {})


def probe(_: object = None) -> str | None:
    """Why a running thread's object cannot be found, if so."""
    if _active.get(get_ident()) is threading.current_thread():
        return None
    return "Python's threading module keeps its running threads elsewhere than in _active"


def inherited() -> Any:
    """What the running thread has inherited.

    ``threading.current_thread`` would make an object for a thread that has none.
    """
    return getattr(_active.get(get_ident()), _MARK, None)


@contextmanager
def inheriting(of_starter: Callable[[], object]) -> Iterator[None]:
    """Let threads that are started inside inherit what ``of_starter`` returns where they are."""
    start = threading.Thread.start

    def inheriting_start(self: threading.Thread) -> None:
        heritage = of_starter()
        if heritage is not None:
            setattr(self, _MARK, heritage)
        start(self)

    threading.Thread.start = inheriting_start  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
