"""Shows how far the run is: below the output on a terminal, in a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from pytest_braid.report.progress import Line, Name, Part, Progress
from pytest_braid.seam import below, output

WHILE_BUSY = 0.1
"""Seconds after which a block is made anew, at the earliest, when something has happened."""

WHILE_IDLE = 1.0
"""The same when nothing has: tests grow older."""

AT_FIRST = 0.5
"""Seconds of a run of which no block is shown: most are over by then."""

SILENCE = 60.0
"""Seconds without the end of a test, after which a log gets a line."""

EVERY = 15.0
"""Seconds after which a log gets a line that is asked for."""

_SHARE = 3
"""The block takes one line of so many that the terminal has."""


class Shown(Protocol):
    """How the loop sees it."""

    def rest(self, at: float) -> None:
        """Before the loop waits."""
        ...

    def patience(self, at: float) -> float | None:
        """Milliseconds that the loop may wait."""
        ...

    def take_away(self) -> None:
        """Before something is printed past Python."""
        ...

    def wrote(self, data: bytes) -> None:
        """After it, to a terminal."""
        ...

    def close(self) -> None: ...


def shown(config: pytest.Config, when: str, progress: Progress) -> Shown | None:
    """What ``--braid-progress`` asks for; ``None`` for nothing."""
    if when == "off" or config.pluginmanager.get_plugin("terminalreporter") is None:
        return None
    is_wanted = when == "on"
    is_quiet = config.option.verbose < 0 and not is_wanted
    if below.is_own_terminal(config) and (is_wanted or not below.is_in_ci()):
        is_classic = below.progress_style(config) == "classic"
        return None if is_quiet or (is_classic and not is_wanted) else Block(config, progress)
    return None if is_quiet else Lines(config, progress, is_wanted=is_wanted)


class Failures:
    """Tells of each failure as it is reported. A hook's plugin, registered while tests run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._progress.failed(report.nodeid, _reason(report))


def _reason(report: Any) -> str:
    """The first line of what has gone wrong."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or str(report.longrepr or "")
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


class Block:
    """Drawn when the loop is about to wait: nobody writes until it goes on."""

    def __init__(self, config: pytest.Config, progress: Progress) -> None:
        self._progress = progress
        self._below = below.Below(config)
        self._is_quiet = config.option.verbose < 0
        self._due = time.monotonic() + AT_FIRST
        self._last = 0.0
        self._below.open()

    def rest(self, at: float) -> None:
        if at >= self._due:
            self._draw(at)
        elif not self._below.is_shown:
            self._below.draw_again()

    def _draw(self, at: float) -> None:
        self._due = at + WHILE_BUSY
        self._last = at
        if not self._below.has_room:
            self._below.take_away()
            return
        columns, rows = self._below.size()
        lines = self._progress.block(at, 1 if self._is_quiet else max(1, rows // _SHARE))
        self._below.draw([fitted(line, columns - 1) for line in lines])

    def patience(self, at: float) -> float | None:
        first = self._due if not self._last else self._last + WHILE_IDLE
        return 1000 * max(0.001, first - at)

    def take_away(self) -> None:
        self._below.take_away()

    def wrote(self, data: bytes) -> None:
        self._below.wrote(data)

    def close(self) -> None:
        self._below.close()


def fitted(line: Line, width: int) -> list[tuple[str, str]]:
    """The pieces of a line, cut so that it takes so many columns at most."""
    rigid = sum(below.width_of(part.text) for part in line if isinstance(part, Part))
    names = sum(isinstance(part, Name) for part in line)
    least = _LEAST_NAME * names
    left = max(least, width - rigid)
    found: list[tuple[str, str]] = []
    used = 0
    for part in line:
        room = min(width - used, left // names if isinstance(part, Name) else width)
        text = below.cut(part.text, max(0, room), at_front=isinstance(part, Name))
        used += below.width_of(text)
        found.append((text, part.look))
    return found


_LEAST_NAME = 24
"""Columns that a name has, if there are so many at all."""


class Lines:
    """For a log, or a terminal that is none: no letter is ever taken back."""

    def __init__(
        self,
        config: pytest.Config,
        progress: Progress,
        *,
        is_wanted: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._progress = progress
        self._is_wanted = is_wanted
        self._last = clock()

    def rest(self, at: float) -> None:
        if at >= self._due:
            self._last = at
            output.say(self._config, self._progress.line(at), always=self._is_wanted)

    @property
    def _due(self) -> float:
        if self._is_wanted:
            return self._last + EVERY
        return max(self._last, self._progress.latest) + SILENCE

    def patience(self, at: float) -> float | None:
        return 1000 * max(0.001, self._due - at)

    def take_away(self) -> None:
        """There is nothing to take away."""

    def wrote(self, data: bytes) -> None:
        """It is in nobody's way."""

    def close(self) -> None:
        """There is nothing to take away."""
