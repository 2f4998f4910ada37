"""Who is told of a run as it goes: the log, and all that have something to say of it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytest_braid.control.log import EventLog
from pytest_braid.model.commands import Command
from pytest_braid.model.events import RunEvent


class Reader(Protocol):
    """What is told of a run (``report``, ``EventLog``)."""

    def event(self, event: RunEvent) -> None: ...

    def command(self, command: Command, at: float) -> None: ...


class Audience:
    """Passes on what happens. ``hears_reports``: somebody wants to know of each phase of a test,
    which is half of all that happens."""

    def __init__(self) -> None:
        self._readers: Sequence[Reader] = ()
        self._log: EventLog | None = None
        self.hears_reports = False

    def join(self, reader: Reader, *, hears_reports: bool = False) -> None:
        """From now on ``reader`` is told, too."""
        self._readers = (*self._readers, reader)
        self.hears_reports |= hears_reports

    def write(self, log: EventLog) -> None:
        """From now on there is a log."""
        self._log = log
        self.join(log, hears_reports=True)

    def rest(self) -> None:
        """Nothing more is to be told for now."""
        if self._log is not None:
            self._log.flush()

    def close(self) -> None:
        """The run is over."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def event(self, event: RunEvent) -> None:
        for reader in self._readers:
            reader.event(event)

    def command(self, command: Command, at: float) -> None:
        for reader in self._readers:
            reader.command(command, at)
