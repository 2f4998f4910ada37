"""Where the values of shared fixtures lie, as in pytest-shared-session-scope."""

from __future__ import annotations

import fcntl
import json
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

Stored = TypeVar("Stored")


class SetupToken(Enum):
    """What the first ``yield`` of a fixture gives to the one process that is to make the value."""

    FIRST = auto()


class CleanupToken(str, Enum):  # noqa: UP042 -- its text is CleanupToken.LAST
    """What the second ``yield`` gives to the last process that leaves the fixture."""

    LAST = "last"


class StoreValueNotExists(Exception):  # noqa: N818 -- its name is known
    """Nothing is stored under this name (yet)."""


class Store(Protocol[Stored]):
    """Where values lie. ``fixtures`` are the names of the fixtures whose values the methods get."""

    @property
    def fixtures(self) -> list[str]: ...

    def read(self, identifier: str, fixture_values: dict[str, Any]) -> Stored:
        """What is stored.

        Raises:
            StoreValueNotExists: nothing is.
        """
        ...

    def write(self, identifier: str, data: Stored, fixture_values: dict[str, Any]) -> None:
        """Store it."""
        ...

    def lock(
        self, identifier: str, fixture_values: dict[str, Any]
    ) -> AbstractContextManager[object]:
        """Keep other processes out meanwhile."""
        ...


class LocalFileStoreMixin:
    """Stores values in files, in the base directory of the run."""

    @property
    def fixtures(self) -> list[str]:
        return ["tmp_path_factory"]

    def _get_path(self, identifier: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The file of a value; a part of the interface."""
        return tmp_path_factory.getbasetemp().parent / f"{identifier}.json"

    @contextmanager
    def lock(self, identifier: str, fixture_values: dict[str, Any]) -> Iterator[None]:
        """Lock a file beside that of the value; who ends lets go of it, however that is."""
        path = self._get_path(identifier, fixture_values["tmp_path_factory"])
        with open(f"{path}.lock", "wb") as file:  # noqa: PTH123 -- the name has one more suffix
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class FileStore(LocalFileStoreMixin):
    """Stores text."""

    def read(self, identifier: str, fixture_values: dict[str, Any]) -> str:
        return self._read(identifier, fixture_values).decode()

    def write(self, identifier: str, data: str, fixture_values: dict[str, Any]) -> None:
        self._write(identifier, data.encode(), fixture_values)

    def _read(self, identifier: str, fixture_values: dict[str, Any]) -> bytes:
        path = self._get_path(identifier, fixture_values["tmp_path_factory"])
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise StoreValueNotExists(f"there is no file {path}") from None

    def _write(self, identifier: str, data: bytes, fixture_values: dict[str, Any]) -> None:
        """Whole or not at all: who is killed meanwhile leaves no half of it."""
        path = self._get_path(identifier, fixture_values["tmp_path_factory"])
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data)
        part.replace(path)


class JsonStore(FileStore):
    """Stores what JSON knows."""

    def read(self, identifier: str, fixture_values: dict[str, Any]) -> Any:
        return json.loads(super().read(identifier, fixture_values))

    def write(self, identifier: str, data: Any, fixture_values: dict[str, Any]) -> None:
        super().write(identifier, json.dumps(data), fixture_values)


class PickleStore(FileStore):
    """Stores what can be pickled."""

    def read(self, identifier: str, fixture_values: dict[str, Any]) -> Any:
        return pickle.loads(self._read(identifier, fixture_values))  # noqa: S301 -- of this run

    def write(self, identifier: str, data: Any, fixture_values: dict[str, Any]) -> None:
        self._write(identifier, pickle.dumps(data, pickle.HIGHEST_PROTOCOL), fixture_values)
