"""The history of the suite in pytest's cache: read before the tests, written after them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.control.audience import Audience
from pytest_braid.history.estimates import estimates
from pytest_braid.history.file import FOLDER, NAME, Busy, Loaded, change, load
from pytest_braid.history.observer import Observer
from pytest_braid.history.record import History, after_run
from pytest_braid.model.estimates import Estimates
from pytest_braid.seam import output
from pytest_braid.wire import messages as m

_DAY = 24 * 60 * 60


class Memory:
    """``use`` is the value of ``--braid-history``. Without pytest's cache (``-p no:cacheprovider``)
    nothing is read and nothing written; where the cache cannot be written, which pytest warns of,
    nothing is written here, either."""

    def __init__(self, config: pytest.Config, use: str) -> None:
        self._config = config
        self._use = use
        self._path: Path | None = None
        self._observer: Observer | None = None
        self._known = History()
        self._collected: Sequence[str] = ()
        """All that is in the files of the run; none if only a part was asked for."""

    def join(self, audience: Audience) -> None:
        """Have the run watched. By now pytest's cache is there."""
        if self._use != "off":
            self._path = _path(self._config)
        if self._use == "on" and self._path is not None:
            self._observer = Observer()
            audience.join(self._observer)

    def read(self) -> None:
        """Before the tests are known, while others are busy collecting them."""
        if self._path is not None:
            self._known = self._take(load(self._path))

    def estimates(self, said: m.Collected, *, is_whole: bool) -> Estimates:
        """What is expected of the tests; ``is_whole``: no other tests are in their files."""
        nodeids = [test.nodeid for test in said.tests]
        if is_whole:
            self._collected = nodeids
        return estimates(self._known, nodeids, said.instances)

    def write(self) -> None:
        """After the tests."""
        if self._observer is None or self._path is None:
            return
        run, unsure = self._observer.run, self._observer.unsure
        if not run.tests:
            return
        day = int(time.time() // _DAY)

        def learn(known: History) -> History:
            return after_run(known, run, unsure, day, self._collected)

        try:
            self._take(change(self._path, learn))
        except Busy as error:
            output.say(self._config, f"braid: the history of this run is lost: {error}")
        except ValueError as error:  # a node id that UTF-8 has no bytes for
            output.say(self._config, f"braid: the history of this run is lost: {error}")
        except OSError:
            pass  # pytest has warned of its cache

    def _take(self, loaded: Loaded) -> History:
        if loaded.fault is not None:
            output.say(
                self._config, f"braid: what earlier runs have taught is lost: {loaded.fault}"
            )
        return loaded.history


def _path(config: pytest.Config) -> Path | None:
    cache: Any = getattr(config, "cache", None)
    if cache is None:
        return None
    try:
        folder: Path = cache.mkdir(FOLDER)
    except OSError:
        return None
    return folder / NAME
