"""What a test leaves behind in the event loop that it shares with others."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
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

    def __init__(self, item: pytest.Item, outer: Home | None = None) -> None:
        self.item = item
        self.outer = outer
        """That of the test's fixtures, where this one is of its call."""
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.generators: WeakSet[AsyncGenerator[Any]] = WeakSet()
        self.loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


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
        self._homes: WeakSet[Home] = WeakSet()
        _watch_tasks(hub.loop)
        loops.watch_generators(hub.loop, _note_generator)
        config.add_cleanup(loops.watch_loops(_note_loop))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """What fixtures of the test begin is theirs until they are torn down."""
        __tracebackhide__ = True
        if self._hub.is_strand():
            mine = Home(item)
            self._homes.add(mine)
            home.set(mine)
        return (yield)

    def owns(self, item: pytest.Item, task: asyncio.Task[Any] | None) -> bool:
        """Whether a test, or a fixture of it alone, has started this task."""
        return any(each.item is item and task in each.tasks for each in self._homes)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        __tracebackhide__ = True
        if not self._hub.is_strand():
            return (yield)
        mine = Home(item, home.get())
        self._homes.add(mine)
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
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        __tracebackhide__ = True
        try:
            result = yield
        finally:
            mine = home.get()
            left = self._end(mine) if mine is not None else []
        if left and self._is_strict:
            pytest.fail("\n".join(left), pytrace=False)
        return result

    def _end(self, mine: Home) -> list[str]:
        """End what is left; returns what it was, in words."""
        if not (mine.tasks or mine.generators or mine.loops):
            return []
        tasks = [task for task in mine.tasks if not task.done()]
        found = [
            f"the task {task.get_name()!r} ({_name(task.get_coro())})"
            for task in tasks
            if not task.cancelling()
        ]
        generators = [each for each in mine.generators if _is_suspended(each)]
        found += [f"the async generator {_name(each)}" for each in generators]
        others = [each for each in mine.loops if not (each.is_closed() or each.is_running())]
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
        _note(lambda mine: mine.tasks.add(task))
        return task

    loop.create_task = create_task


def _note_generator(generator: AsyncGenerator[Any]) -> None:
    _note(lambda mine: mine.generators.add(generator))


def _note_loop(loop: asyncio.AbstractEventLoop) -> None:
    _note(lambda mine: mine.loops.add(loop))


def _note(add: Callable[[Home], None]) -> None:
    mine = home.get()
    if mine is not None:
        add(mine)
