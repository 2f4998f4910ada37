"""``pytest_braid.Lock``: a lock by its name, for tests of one run wherever they are."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol, Self
from weakref import ref

import pytest

from pytest_braid.fixtures.gate import current_strand
from pytest_braid.fixtures.tree import running_item
from pytest_braid.model import board as b

Told = Callable[[b.Answer], None]


class Hold(NamedTuple):
    """Who has a lock in this process, and by which question."""

    holder: Holder
    loop: ref[asyncio.AbstractEventLoop] | None
    """The running event loop of the holder's thread, if there is one."""
    number: int
    process: int
    asker: Asker


class Holder(NamedTuple):
    """A task, or a thread by its number; and the test that it runs, where several run at once."""

    strand: ref[asyncio.Task[Any]] | int
    test: object


class Asker(Protocol):
    """Who asks the board of the run.

    Attributes:
        held: the locks that :class:`Lock` holds in this process, by name.
        awaited: names of locks that are waited for here, each with the event loop that runs there.
    """

    held: dict[str, Any]
    awaited: list[tuple[str, Any]]

    def acquire(self, lock: str, timeout: float | None) -> b.Answer:
        """Take a lock, waiting for ``timeout`` seconds at most (``None``: however long)."""
        ...

    def acquire_later(self, lock: str, told: Told) -> int:
        """The number of the question; ``told`` is called, in any thread, when the lock is taken."""
        ...

    def let_go(self, number: int) -> None:
        """Of the lock that this question has taken, or of the place among those who wait."""
        ...


def _nobody() -> Asker:
    raise RuntimeError("the entry module says who is asked")


find_asker: Callable[[], Asker] = _nobody
"""Who asks for the run that goes on here; set by the entry module, which knows."""


class Lock:
    """Held by one at a time, of all tasks, threads and processes of the run that ask for its name.

    ::

        async with Lock("database"): ...  # or ``with``, where nothing is awaited

    Those who wait get it in the order in which they came. Whoever is cancelled or interrupted
    while it waits gives up its place; a process that ends with it loses it, and the next is warned.
    Not reentrant.
    """

    def __init__(self, name: str) -> None:
        """Name it; nothing is taken yet. Locks of one name are one lock.

        Raises:
            TypeError: ``name`` is not a text.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a pytest_braid.Lock is a text, and not {name!r}")
        self.name = name
        self._holds: list[Hold] = []

    def __repr__(self) -> str:
        return f"pytest_braid.Lock({self.name!r})"

    def __enter__(self) -> Self:
        strand = task_strand()
        if strand is not None:
            strand.await_(self.__aenter__())
            return self
        asker, place = self._asker(), (self.name, _loop())
        self._refuse_to_block(asker)
        asker.awaited.append(place)
        try:
            self._take(asker, asker.acquire(self.name, None))
        finally:
            asker.awaited.remove(place)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    async def __aenter__(self) -> Self:
        asker, loop = self._asker(), _loop()
        if loop is None:
            raise RuntimeError(
                f"{self!r}: 'async with' needs a running event loop of asyncio, and none runs here"
            )
        answered: asyncio.Future[b.Answer] = loop.create_future()

        def told(answer: b.Answer) -> None:
            try:
                loop.call_soon_threadsafe(_answer, answered, answer)
            except RuntimeError:  # the loop is closed, and nobody waits
                asker.let_go(answer.number)

        number, place = asker.acquire_later(self.name, told), (self.name, loop)
        asker.awaited.append(place)
        strand = task_strand()
        try:
            with nullcontext() if strand is None else strand.excusing():
                answer = await answered
        except BaseException:
            asker.let_go(number)
            raise
        finally:
            asker.awaited.remove(place)
        self._take(asker, answer)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Without waiting: it is called where a task is cancelled or a loop is closed, too."""
        self._give_back()

    def _asker(self) -> Asker:
        """Who is asked; not for a lock that the one who wants it has."""
        asker = find_asker()
        hold: Hold | None = asker.held.get(self.name)
        if hold is not None and hold.process == os.getpid() and hold.holder == _holder():
            kind = "thread" if isinstance(hold.holder.strand, int) else "task"
            raise RuntimeError(
                f"{self!r} is held by this {kind} already, which would wait for itself: take it "
                "once, around all that needs it"
            )
        return asker

    def _refuse_to_block(self, asker: Asker) -> None:
        """An event loop, of which another task has the lock, or will have it before; the one of
        this process's tasks, if a thread has it or will, which may wait for what the loop does."""
        loop = _loop()
        if loop is None:
            return
        hold: Hold | None = asker.held.get(self.name)
        if (hold is not None and hold.loop == ref(loop)) or (self.name, loop) in asker.awaited:
            raise RuntimeError(
                f"{self!r}: another task of this event loop has it or is next, and could not go on "
                "while 'with' waits: write 'async with'"
            )
        is_here = hold is not None and hold.process == os.getpid()
        if _is_of_task() and (is_here or any(name == self.name for name, _ in asker.awaited)):
            raise RuntimeError(
                f"{self!r}: another test of this process has it or is next, and may need this "
                "event loop, which could not go on while 'with' waits in a task that a test has "
                "started: write 'async with'"
            )

    def _take(self, asker: Asker, answer: b.Answer) -> None:
        loop = _loop()
        hold = Hold(_holder(), ref(loop) if loop else None, answer.number, os.getpid(), asker)
        asker.held[self.name] = hold
        self._holds.append(hold)
        if answer.note:
            try:
                warnings.warn(
                    f"{answer.note}. What it protects may be half done.",
                    pytest.PytestWarning,
                    stacklevel=3,
                )
            except BaseException:  # a filter makes an error of it: nobody would give it back
                self._give_back()
                raise

    def _give_back(self) -> None:
        hold = self._holds.pop()
        if hold.process == os.getpid():  # a copy that was forked meanwhile does not hold it
            if hold.asker.held.get(self.name) is hold:
                del hold.asker.held[self.name]
            hold.asker.let_go(hold.number)


def _answer(answered: asyncio.Future[b.Answer], answer: b.Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


def task_strand() -> Any:
    """What can wait here, in synchronous code too, while other tasks go on; ``None`` if nothing
    can."""
    strand: Any = current_strand.get()
    return strand if getattr(strand, "is_current", False) else None


def _is_of_task() -> bool:
    """Whether this is a task that a test has started, which runs as a task itself."""
    is_in_main = threading.current_thread() is threading.main_thread()
    return is_in_main and current_strand.get() is not None


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _holder() -> Holder:
    task = None if _loop() is None else asyncio.current_task()
    return Holder(threading.get_ident() if task is None else ref(task), running_item.get())
