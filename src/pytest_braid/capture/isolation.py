"""Several tests at once, each with its own output and its own state.

What a test and pytest take to be the process's, and what belongs to one test: each such place is a
module of the seam. While the isolation is on, they ask who runs; for code that runs for no test
everything is as it was before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Protocol, Self

import pytest

from pytest_braid.capture.ownership import values
from pytest_braid.seam import (
    capturing,
    comparisons,
    current_test,
    directories,
    dump_timer,
    logs,
    parsing,
    reporting,
    stray_exceptions,
    streams,
    threads,
    warning_filters,
)
from pytest_braid.seam.routing import Values


class Place(Protocol):
    """What tests have each of their own."""

    def probe(self, config: pytest.Config, /) -> str | None:
        """Why this cannot be isolated, if so."""

    def isolated(self, config: pytest.Config, values: Values, /) -> AbstractContextManager[None]:
        """Isolate it, as long as the context lasts."""


PLACES: tuple[Place, ...] = (
    streams,
    capturing,
    comparisons,
    current_test,
    directories,
    dump_timer,
    logs,
    parsing,
    reporting,
    stray_exceptions,
    warning_filters,
)


class Isolation:
    """The isolation of all that runs at once in this process: on while it is entered."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._undo = ExitStack()

    def why_not(self) -> str | None:
        """The first place that is not as braid knows it, in words."""
        for probe in (threads.probe, *(place.probe for place in PLACES)):
            reason = probe(self._config)
            if reason is not None:
                return f"{reason} (pytest {pytest.__version__})"
        return None

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(threads.inheriting(values))
            for place in PLACES:
                undo.enter_context(place.isolated(self._config, values))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """For a test that runs while all strands are quiet: nothing is isolated, so that even who
        looks into the dictionary of ``sys`` (``mock.patch("sys.stdout")``) finds what is there in a
        plain run."""
        self._undo.close()
        try:
            yield
        finally:
            self.__enter__()
