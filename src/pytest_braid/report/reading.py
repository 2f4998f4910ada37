"""Logs of earlier runs (``--braid-log``), for the readers that are told of a run as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pytest_braid.model import commands as c
from pytest_braid.model import events as e


class Reader(Protocol):
    """What is told of a run."""

    def event(self, event: Any) -> None:
        """Take in what has happened."""
        ...

    def command(self, command: Any, at: float) -> None:
        """Take in what the scheduler has decided."""
        ...


class LogError(Exception):
    """A file is no log. ``path`` and ``line`` say where that shows; the first line is 1."""

    def __init__(self, path: Path, line: int, why: str) -> None:
        super().__init__(path, line, why)
        self.path, self.line, self.why = path, line, why

    def __str__(self) -> str:
        return (
            f"{self.path}, line {self.line}: {self.why}. A log is what pytest -n N --braid-log "
            "PATH writes: one JSON object a line, the first of type RunStarted"
        )


class _Line(msgspec.Struct, gc=False):
    type: str
    at: float


_Event = msgspec.json.Decoder(e.RunEvent)
_Command = msgspec.json.Decoder(c.SchedulerCommand)
_Head = msgspec.json.Decoder(_Line)
_COMMANDS = {kind.__name__ for kind in c.SchedulerCommand.__args__}
_EVENTS = {kind.__name__ for kind in e.RunEvent.__args__}


def read_log(path: Path, *readers: Reader) -> None:
    """Tell ``readers`` what the log at ``path`` says.

    The last line may be broken: the run has been killed, or is going on. Lines of a type that is
    not known are left out: a later version has written them.

    Raises:
        LogError: the file is no log.
        OSError: it cannot be read.
    """
    for number, line in _lines(path):
        try:
            head = _Head.decode(line)
            if number == 1 and head.type != "RunStarted":
                raise LogError(path, number, f"the first line is of type {head.type!r}")
            if head.type in _EVENTS:
                event = _Event.decode(line)
                for reader in readers:
                    reader.event(event)
            elif head.type in _COMMANDS:
                command = _Command.decode(line)
                for reader in readers:
                    reader.command(command, head.at)
        except msgspec.DecodeError as error:
            raise LogError(path, number, f"this is no line of a log ({error})") from None


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines, by their numbers."""
    number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line
            elif number == 1:
                raise LogError(path, 1, "it has no whole line")
    if number == 0:
        raise LogError(path, 1, "the file is empty")
