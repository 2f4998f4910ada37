"""pytest-asyncio-cooperative: marked tests that run at once, as tasks of one event loop.

Marks, options and names are those of pytest-asyncio-cooperative 0.40.0. What runs the tests is not:
they are tests like all others, with pytest's own protocol and fixtures of every kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Final

import pytest

from pytest_braid.fixtures.gate import current_strand
from pytest_braid.fixtures.nested import attempt

MARK: Final = "asyncio_cooperative"

MAX_TASKS: Final = 100
"""Tests that run at once where nobody says how many."""

TIMEOUT: Final = 600
"""Seconds that a test may take where nobody says how many."""


class Lock:
    """``async with lock(): ...``: a lock of asyncio that is made when it is first needed."""

    lock: asyncio.Lock

    def __call__(self) -> asyncio.Lock:
        try:
            return self.lock
        except AttributeError:
            self.lock = asyncio.Lock()
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


def task_timeout(config: pytest.Config) -> int:
    """How many seconds a test may take: ``--asyncio-task-timeout``, the ini key
    ``asyncio_task_timeout``.

    Raises:
        pytest.UsageError: the one that counts is no whole number above 0.
    """
    return _number(config, "asyncio_task_timeout", TIMEOUT)


def _number(config: pytest.Config, name: str, default: int) -> int:
    text, source = getattr(config.option, name, None), f"--{name.replace('_', '-')}"
    if text is None:
        text, source = config.getini(name) or default, f"the ini option {name}"
    if str(text).strip().isdecimal() and int(text):
        return int(text)
    raise pytest.UsageError(f"{source}: {text!r} is not a whole number of 1 or more")


class Cooperative:
    """The plugin of a run that has such tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._seconds = task_timeout(config)

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

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin to count the time of a test."""
        strand: Any = current_strand.get()
        if is_cooperative(item) and getattr(strand, "is_current", False):
            item.stash[_clock] = Clock(strand, self._seconds)
        return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            clock = item.stash.get(_clock, None)
            if clock is not None:
                clock.stop()
                del item.stash[_clock]


class Clock:
    """Cancels the task of a test, once, when its time is up. What it waits for that is not its
    own (another test's setup, a lock) takes none of it."""

    def __init__(self, strand: Any, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._strand, self._task, self._seconds = strand, task, seconds
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._excused = strand.excused_until(self._began)
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        took = now - self._began - (self._strand.excused_until(now) - self._excused)
        left = self._seconds - took
        if left > _TICK:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._strand.reason = pytest.fail.Exception(
            f"Test took too long ({took:.2f} s): it was cancelled after {self._seconds} s "
            "(--asyncio-task-timeout)",
            pytrace=True,
        )
        self._task.cancel()

    def stop(self) -> None:
        """The test is over."""
        self._timer.cancel()


_TICK: Final = 0.001
"""Seconds by which a timer may be early."""

_clock: Final = pytest.StashKey[Clock]()
