"""Who asks which worker this is before there are workers.

What runs before the fork runs once for all workers. A name that it asks for then, and keeps, all
workers would have in common: a database, a directory, a log file meant for one of them. So the
questions are noted, with the place that asked first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

WORKER = "PYTEST_XDIST_WORKER"
VARIABLES = frozenset({WORKER, "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"})

_HARMLESS = frozenset(
    {"_pytest", "pytest", "pluggy", "pytest_braid", "pytest_cov", "syrupy", "pytest_benchmark"}
)
"""Packages that may ask. pytest-cov takes ``workerid`` as a suffix of file names that have the
process id in them too (``pytest_cov.plugin``, ``coverage.data``). syrupy only wants to know whether
there is a name (``syrupy.utils.is_xdist_worker``); pytest-benchmark as well, and which worker is to
say so (``pytest_benchmark.session``)."""


class Questions:
    """What was asked for, and where: ``workerinput['workerid']`` or the name of a variable."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, int]] = {}
        self._is_open = True
        self._listed: dict[str, tuple[str, int] | None] = {}
        """Where a name was listed, with all others, that was not read since."""
        self._stop = self._watch_environment()
        self.has_answers = False
        """Whether the variables are set, as they are in the zygote: then all but one are right for
        all workers, and so is the answer whether there is one."""

    def note(self, what: str) -> None:
        if self._is_open and what not in self._places:
            place = _asker(sys._getframe(2))
            if place is not None:
                self._places[what] = place

    def places(self, root: Path) -> dict[str, str]:
        """What was asked for, and the file, from ``root`` on, and line that asked first."""
        return {what: _shown(*place, root) for what, place in self._places.items()}

    def close(self) -> None:
        """From here on each may ask."""
        self._is_open = False
        self._stop()

    def _watch_environment(self) -> Callable[[], None]:
        """Note who reads one of ``VARIABLES``; returns what ends it.

        A copy of the whole environment is no question: it reads each name where it lists them. The
        two functions are attributes of ``os.environ`` (``os._Environ``); without them nothing is
        noted.
        """
        environ: Any = os.environ
        if not {"encodekey", "decodekey"} <= vars(environ).keys():
            return lambda: None
        encode, decode = environ.encodekey, environ.decodekey

        def encodekey(name: Any) -> Any:
            if name in VARIABLES:
                self._read(name, sys._getframe(1))
            return encode(name)

        def decodekey(name: Any) -> Any:
            listed = decode(name)
            if listed in VARIABLES:
                self._listed[listed] = _asker(sys._getframe(1))
            return listed

        def stop() -> None:
            if environ.encodekey is encodekey:
                environ.encodekey, environ.decodekey = encode, decode

        environ.encodekey, environ.decodekey = encodekey, decodekey
        return stop

    def _read(self, name: str, accessor: FrameType) -> None:
        if accessor.f_code.co_name != "__getitem__":
            return  # it is set, or deleted
        place = _asker(accessor)
        if self._listed.pop(name, _NOWHERE) == place:
            return
        if not (self.has_answers and (name != WORKER or _only_whether(accessor.f_back))):
            self.note(name)


_QUESTIONS = pytest.StashKey[Questions]()


def questions(config: pytest.Config) -> Questions:
    """Those of this run, noted from the first call on until they are closed."""
    if _QUESTIONS not in config.stash:
        config.stash[_QUESTIONS] = noted = Questions()
        config.add_cleanup(noted.close)
    return config.stash[_QUESTIONS]


class WorkerInput(dict[str, Any]):
    """``config.workerinput`` from before the fork on."""

    def __init__(self, given: dict[str, Any], questions: Questions) -> None:
        super().__init__(given)
        self._questions = questions

    def __getitem__(self, key: str) -> Any:
        self._questions.note(named(key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._questions.note(named(key))
        return super().get(key, default)


def variables(workerinput: dict[str, Any]) -> dict[str, str]:
    """What suites read in the environment of a worker (pytest-xdist's names)."""
    return {
        WORKER: workerinput["workerid"],
        "PYTEST_XDIST_WORKER_COUNT": str(workerinput["workercount"]),
        "PYTEST_XDIST_TESTRUNUID": workerinput["testrunuid"],
    }


def named(key: str) -> str:
    """A key of ``workerinput``, as questions for it are noted."""
    return f"workerinput[{key!r}]"


def mistaken(places: dict[str, str], inputs: Iterable[dict[str, Any]]) -> list[str]:
    """Reasons against forking workers with these ``workerinput``: questions that each of them has
    another answer to."""
    first, *others = inputs
    differing = {
        named(key) for other in others for key in first if first.get(key) != other.get(key)
    }
    if others:
        differing |= VARIABLES
    return [
        f"{place} asks for {what} before there are workers: all of them would have the same "
        "answer; ask in a fixture or a test instead (fixture worker_id)"
        for what, place in places.items()
        if what in differing
    ]


_BETWEEN = {function.__code__.co_filename for function in (os.getenv, Mapping.get, Questions.note)}
"""Files whose frames lie between a question and who asks it."""


def _asker(frame: FrameType | None) -> tuple[str, int] | None:
    while frame is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] in _HARMLESS:
        return None
    return frame.f_code.co_filename, frame.f_lineno


_NOWHERE = ("", 0)


def _only_whether(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_name == "__contains__"


def _shown(file: str, line: int, root: Path) -> str:
    path = Path(file)
    return f"{path.relative_to(root) if path.is_relative_to(root) else path}:{line}"
