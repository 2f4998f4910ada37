"""The stage of ``tools/inner.py``, loaded into its runs of pytest's own tests.

Puts the options of ``INNER_OPTIONS`` before those of every pytest that a test starts, in its own
process or in another, lets each write its event log into the folder ``INNER_LOGS``, and writes how
each test ended, as JSON lines, to the file that ``ACCEPTANCE_NOTES`` names.
"""

from __future__ import annotations

import itertools
import os
import pkgutil
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from acceptance_stage import Notes  # type: ignore[import-not-found]

import pytest_braid

_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.pop("ACCEPTANCE_NOTES", "")
    if not path:  # the run of a test, in a process of its own
        return
    config.pluginmanager.register(Notes(Path(path)))
    options = shlex.split(os.environ.pop("INNER_OPTIONS", ""))
    if options:
        _import_braid()
        _prepend(options, os.environ.pop("INNER_LOGS"))


def _import_braid() -> None:
    """All of it, now: pytester forgets what was imported in a run, and each would import it again,
    with another audit hook, which the interpreter keeps."""
    for module in pkgutil.walk_packages(pytest_braid.__path__, f"{pytest_braid.__name__}."):
        import_module(module.name)


def _prepend(options: list[str], logs: str) -> None:
    kind: Any = pytest.Pytester
    inline_run, arguments = kind.inline_run, kind._getpytestargs  # noqa: SLF001 -- of all runs

    def with_log() -> list[str]:
        return [*options, f"--braid-log={logs}/{os.getpid()}-{next(_numbers)}.jsonl"]

    def run_with_options(self: Any, *args: Any, **more: Any) -> Any:
        return inline_run(self, *with_log(), *args, **more)

    kind.inline_run = run_with_options
    kind._getpytestargs = lambda self: (*arguments(self), *with_log())  # noqa: SLF001
