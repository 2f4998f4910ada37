"""How long a test may take that runs as a task, and its end when it takes longer."""

from __future__ import annotations

import asyncio
import linecache
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_braid.fixtures.bridge import TaskStrand
from pytest_braid.model.limits import Limit
from pytest_braid.worker import project
from pytest_braid.worker.frames import frames_of, traceback_of

_LATE = 0.05
"""Seconds after which a timer is late: something has blocked the event loop."""


class Deadline:
    """Cancels the task of a test whose time is up.

    What the test waits for and is not its own, and what others block the event loop for, takes none
    of its time: ``tell`` hears how many seconds it is given for that.
    """

    def __init__(
        self,
        task: asyncio.Task[Any],
        strand: TaskStrand[Any],
        limit: Limit,
        root: Path,
        tell: Callable[[float], None],
    ) -> None:
        self._task = task
        self._strand = strand
        self.limit = limit
        self._root = root
        self._tell = tell
        self._loop = task.get_loop()
        self._begin()
        strand.renewals.append(self._begin_again)

    def _begin(self) -> None:
        self._began = self._loop.time()
        self._excused = self._strand.excused
        self._ran = self._strand.ran
        self._due = self._began + self.limit.seconds
        self._timer = self._loop.call_at(self._due, self._look)

    def _begin_again(self) -> None:
        """The test runs once more, and has as long as before."""
        self._timer.cancel()
        self._begin()
        self._tell(self.limit.seconds)

    def _look(self) -> None:
        now = self._loop.time()
        late = now - self._due
        spent = now - self._began - (self._strand.excused_until(now) - self._excused)
        own, self._ran = self._strand.ran - self._ran, self._strand.ran
        is_blocked = late > _LATE and own < late  # by another test
        left = late if is_blocked else self.limit.seconds - spent
        if left <= 0:
            self._strand.cancel(self._task, self._failure())
            return
        self._due = now + left
        self._timer = self._loop.call_at(self._due, self._look)
        self._tell(left)

    def _failure(self) -> BaseException:
        frames = frames_of(self._strand.waits_for)
        return pytest.fail.Exception(
            f"The test took longer than {self.limit}. It was cancelled where it waited: "
            f"{place_in_words(frames, self._root)}. If it needs longer, raise the limit, or mark "
            "it with @pytest.mark.timeout(SECONDS)."
        ).with_traceback(traceback_of(frames))

    def clear(self) -> None:
        """The test is over."""
        self._timer.cancel()
        self._strand.renewals.remove(self._begin_again)


def place_in_words(frames: Sequence[FrameType], root: Path) -> str:
    """``test_a.py:12 in test_it: await asyncio.sleep(100)``: the innermost line of the project."""
    own = [frame for frame in frames if project.is_own(frame.f_code.co_filename)]
    if not frames:
        return "before its first await"
    frame = (own or frames)[-1]
    path, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(path, line).strip()
    place = project.place(root, path, line)
    return f"{place} in {frame.f_code.co_name}{f': {text}' if text else ''}"
