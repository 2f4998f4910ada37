"""The event log: one JSON object a line, ``type`` first, times in monotonic seconds."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_braid.model.commands import Command
from pytest_braid.model.events import Event


class EventLog:
    """Writes events, and commands with the time at which they were carried out, as lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._encode = msgspec.json.Encoder().encode

    def event(self, event: Event) -> None:
        self._file.write(self._encode(event) + b"\n")

    def command(self, command: Command, at: float) -> None:
        self._file.write(self._encode(msgspec.to_builtins(command) | {"at": at}) + b"\n")

    def flush(self) -> None:
        """What has happened is to be read there, if this process should be killed next."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()
