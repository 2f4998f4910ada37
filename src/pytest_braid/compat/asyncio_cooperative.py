"""pytest-asyncio-cooperative: marked tests that run at once, as tasks of one event loop.

Marks, options and names are those of pytest-asyncio-cooperative 0.40.0. What runs the tests is not:
they are tests like all others, with pytest's own protocol and fixtures of every kind.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import Any, Final, Literal

import pytest

from pytest_braid.compat.lock import task_strand
from pytest_braid.fixtures.nested import attempt
from pytest_braid.model.limits import Limit

MARK: Final = "asyncio_cooperative"

MAX_TASKS: Final = 100
"""Tests that run at once where nobody says how many."""

TIMEOUT: Final = 600
"""Seconds that a test may take where nobody says how many."""


class _Patient(asyncio.Lock):
    """Waiting for it takes none of a test's time."""

    async def acquire(self) -> Literal[True]:
        strand = task_strand()
        with nullcontext() if strand is None else strand.excusing():
            return await super().acquire()


class Lock:
    """``async with lock(): ...``: a lock of asyncio that is made when it is first needed."""

    lock: asyncio.Lock

    def __call__(self) -> asyncio.Lock:
        try:
            return self.lock
        except AttributeError:
            self.lock = _Patient()
            return self.lock


def is_cooperative(item: pytest.Item) -> bool:
    """Whether it is to run as a task though nobody has asked for tasks."""
    return item.get_closest_marker(MARK) is not None


def max_tasks(config: pytest.Config) -> int:
    """How many tests run at once: ``--max-asyncio-tasks``, the ini key ``max_asyncio_tasks``.

    Raises:
        pytest.UsageError: the one that counts is no whole number above 0.
    """
    return _number(config, "max_asyncio_tasks", MAX_TASKS)


def task_limit(config: pytest.Config) -> Limit:
    """How long a test may take: ``--asyncio-task-timeout``, the ini key ``asyncio_task_timeout``.

    Raises:
        pytest.UsageError: the one that counts is no whole number above 0.
    """
    return Limit(_number(config, "asyncio_task_timeout", TIMEOUT), "--asyncio-task-timeout")


def _number(config: pytest.Config, name: str, default: int) -> int:
    text, source = getattr(config.option, name, None), f"--{name.replace('_', '-')}"
    if text is None:
        text, source = config.getini(name) or default, f"the ini option {name}"
    if str(text).strip().isdecimal() and int(text):
        return int(text)
    raise pytest.UsageError(f"{source}: {text!r} is not a whole number of 1 or more")


class Cooperative:
    """The plugin of a run that has such tests, of which each may take as long as ``limit`` says."""

    def __init__(self, config: pytest.Config) -> None:
        self.limit = task_limit(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run a test that is marked ``flakey`` once more if it fails."""
        if item.get_closest_marker("flakey") is None or not is_cooperative(item):
            return None
        hook: Any = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = attempt(item, nextitem)
        if any(report.failed for report in reports):
            for report in reports:
                if report.failed:
                    report.outcome = "rerun"  # type: ignore[assignment]  # as pytest-rerunfailures
                    hook.pytest_runtest_logreport(report=report)
            reports = attempt(item, nextitem)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True
