"""What a test leaves behind in the event loop that it shares with others."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextvars import ContextVar
from typing import Any, Protocol
from weakref import WeakSet

import pytest

from pytest_braid.model.variables import variable
from pytest_braid.seam import loops

_GRACE = 1.0
"""Seconds that a task has to end once it is cancelled."""


class Home:
    """Whatever is begun for one test, in one of its phases."""

    __slots__ = ("begun", "item", "outer")

    def __init__(self, item: pytest.Item, outer: Home | None = None) -> None:
        self.item = item
        self.outer = outer
        """That of the test's fixtures, where this one is of its call."""
        self.begun: WeakSet[Any] | None = None
        """Tasks, async generators and event loops. Most tests begin none."""

    def add(self, thing: object) -> None:
        if self.begun is None:
            self.begun = WeakSet()
        self.begun.add(thing)


home: ContextVar[Home | None] = variable("home", None, is_of_test=True)
"""Where what is begun here belongs; ``None`` for what outlives a test, as a fixture that tests
share."""


class Waiter(Protocol):
    """As :class:`~pytest_braid.fixtures.bridge.Hub` is one."""

    loop: asyncio.AbstractEventLoop

    def is_strand(self) -> bool: ...
    def wait_for(self, awaitable: Any) -> Any: ...


class Leaks:
    """A plugin: names what tests leave, and ends it before their teardown goes on."""

    def __init__(self, config: pytest.Config, hub: Waiter) -> None:
        self._hub = hub
        self._is_strict = bool(config.getini("braid_strict_tasks"))
        self._homes: dict[pytest.Item, list[Home]] = {}
        """Of each test that runs."""
        _watch_tasks(hub.loop)
        loops.watch_generators(hub.loop, _note, _disown)
        config.add_cleanup(loops.watch_loops(_note))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """What fixtures of the test begin is theirs until they are torn down."""
        __tracebackhide__ = True
        if self._hub.is_strand():
            mine = Home(item)
            self._homes[item] = [mine]
            home.set(mine)
        return (yield)

    def owns(self, item: pytest.Item, task: asyncio.Task[Any] | None) -> bool:
        """Whether a test, or a fixture of it alone, has started this task."""
        return any(each.begun and task in each.begun for each in self._homes.get(item, ()))

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        __tracebackhide__ = True
        if not self._hub.is_strand():
            return (yield)
        mine = Home(item, home.get())
        self._homes.setdefault(item, []).append(mine)
        token = home.set(mine)
        try:
            result = yield
        finally:
            home.reset(token)
            left = self._end(mine)
        if left and self._is_strict:
            pytest.fail("\n".join(left), pytrace=False)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self) -> Generator[None, object, object]:
        """Also of one that the test asks for while it runs."""
        __tracebackhide__ = True
        mine = home.get()
        if mine is None or mine.outer is None:
            return (yield)
        token = home.set(mine.outer)
        try:
            return (yield)
        finally:
            home.reset(token)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        try:
            result = yield
        finally:
            mine = home.get()
            left = self._end(mine) if mine is not None else []
            self._homes.pop(item, None)
        if left and self._is_strict:
            pytest.fail("\n".join(left), pytrace=False)
        return result

    def _end(self, mine: Home) -> list[str]:
        """End what is left; returns what it was, in words."""
        if not mine.begun:
            return []
        tasks, generators, others = _running(mine.begun)
        found = [
            f"the task {task.get_name()!r} ({_name(task.get_coro())})"
            for task in tasks
            if not task.cancelling()
        ]
        found += [f"the async generator {_name(each)}" for each in generators]
        found += [f"the event loop {each!r}" for each in others]
        if tasks or generators:
            self._hub.wait_for(_end(tasks, generators))
        for loop in others:
            loop.close()
        texts = [_text(mine.item, what) for what in found]
        if not self._is_strict:
            for text in texts:
                _warn(mine.item, text)
        return texts


_Task = asyncio.Task[Any]
_Loop = asyncio.AbstractEventLoop


def _running(begun: Iterable[Any]) -> tuple[list[_Task], list[AsyncGenerator[Any]], list[_Loop]]:
    """What of it is not over: tasks, async generators, event loops."""
    tasks, generators, others = [], [], []
    for each in [*begun]:
        if isinstance(each, AsyncGenerator):
            if _is_suspended(each):
                generators.append(each)
        elif isinstance(each, asyncio.AbstractEventLoop):
            if not (each.is_closed() or each.is_running()):
                others.append(each)
        elif not each.done():
            tasks.append(each)
    return tasks, generators, others


async def _end(tasks: list[asyncio.Task[Any]], generators: list[AsyncGenerator[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)
    for generator in generators:
        if _is_suspended(generator):
            try:
                await generator.aclose()
            except Exception as error:  # noqa: BLE001 -- it is told, and the test is over
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "an async generator that a test has left", "exception": error}
                )


def _is_suspended(generator: Any) -> bool:
    return generator.ag_frame is not None and not generator.ag_running


def _text(item: pytest.Item, what: str) -> str:
    return (
        f"{item.nodeid} has left {what}, which would go on beside other tests. It was ended; let "
        "the test end it (await it, cancel it, or close it)"
    )


def _warn(item: pytest.Item, text: str) -> None:
    """Tell of it as of any other warning; but it makes no error of it, whatever the filters say: a
    run without tasks tells of nothing."""
    path, line, _ = item.location
    message = warnings.WarningMessage(
        pytest.PytestWarning(text), pytest.PytestWarning, path, (line or 0) + 1
    )
    item.ihook.pytest_warning_recorded.call_historic(
        kwargs={
            "warning_message": message,
            "nodeid": item.nodeid,
            "when": "runtest",
            "location": None,
        }
    )


def _name(thing: Any) -> str:
    return str(getattr(thing, "__qualname__", thing))


def _watch_tasks(loop: Any) -> None:
    """Note each task that is started. Not by a task factory, which is for tests to set, and with
    which Python 3.13.0 names every task 'None'."""
    original = loop.create_task

    def create_task(coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = original(coroutine, **more)
        _note(task)
        return task

    loop.create_task = create_task


def _disown(begin: Callable[[], None]) -> None:
    """Have something begun that is no test's: wherever garbage is found, it can be that of
    another."""
    token = home.set(None)
    try:
        begin()
    finally:
        home.reset(token)


def _note(thing: object) -> None:
    mine = home.get()
    if mine is not None:
        mine.add(thing)
