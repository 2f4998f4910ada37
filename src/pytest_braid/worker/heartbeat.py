"""Finds out what blocks the event loop, while it does."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pytest_braid.worker import project

_BEAT = 0.2
"""Seconds between two looks."""

_LONG = 0.8
"""Seconds without an answer. Whoever blocks the loop for a second is seen: it begins a beat before
it is asked, at most."""


class Blocked(NamedTuple):
    """A test that blocks the loop since a time (``time.monotonic``), and where it was seen, the
    outermost frame first."""

    test: int
    since: float
    frames: list[traceback.FrameSummary]


class Heartbeat:
    """A thread that asks the loop, while it runs, to answer, and looks where it is if it does not.

    ``test_of`` says which test a task is of; what no test does (a server of a fixture) is not told.
    ``excuse`` is called in the thread, again and again while the loop is blocked by a test.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        test_of: Callable[[asyncio.Task[Any] | None], int | None],
        excuse: Callable[[int | None], None],
    ) -> None:
        self._loop = loop
        self._test_of = test_of
        self._excuse = excuse
        self._thread = threading.get_ident()
        self._runs = threading.Event()
        self._answered = threading.Event()
        self.found: deque[Blocked] = deque()
        """Those who have blocked the loop, as long as nobody has taken them."""
        threading.Thread(target=self._watch, name="braid-heartbeat", daemon=True).start()

    def go_on(self) -> None:
        """The loop runs."""
        self._runs.set()

    def pause(self) -> None:
        """The loop does not run for a while, and need not answer."""
        self._runs.clear()

    def _watch(self) -> None:
        while self._runs.wait():
            self._answered.clear()
            asked = _clock()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # it is closed
                return
            if not self._answered.wait(_LONG) and self._runs.is_set():
                test = self._look(asked)
                self._excuse(test)
                while not self._answered.wait(_LONG):
                    self._excuse(test)
            _sleep(_BEAT)

    def _look(self, asked: float) -> int | None:
        try:
            test = self._test_of(asyncio.current_task(self._loop))
        except RuntimeError:  # a set of what tests have begun grows in this very moment
            test = None
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 -- public but for its name
        if test is not None and frame is not None:
            self.found.append(Blocked(test, asked, [*traceback.extract_stack(frame)]))
        return test


# Bound before a test can patch the module.
_clock, _sleep = time.monotonic, time.sleep


def lines_of(frames: list[traceback.FrameSummary], root: Path) -> tuple[str, ...]:
    """A line for each frame of the project; of the last frames, if it has none."""
    own = [frame for frame in frames if project.is_own(frame.filename)]
    return tuple(
        f"{project.place(root, frame.filename, frame.lineno or 0)} in {frame.name}"
        f"{f': {frame.line}' if frame.line else ''}"
        for frame in own or frames[-_LAST:]
    )


_LAST = 3
