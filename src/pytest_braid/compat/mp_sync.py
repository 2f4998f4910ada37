"""The fixtures with which tests of several processes wait for each other, as pytest-mp has them."""

from __future__ import annotations

import io
import itertools
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import pytest

from pytest_braid.model import board as b

Asked = TypeVar("Asked", bound=b.Ask)


class Asker(Protocol):
    """Who asks the board, and waits for its answer."""

    def ask(self, kind: Callable[..., b.Question], *words: object) -> b.Answer:
        """The answer to a question of this kind."""
        ...

    def acquire(self, lock: str, timeout: float | None) -> b.Answer:
        """Take a lock, waiting for ``timeout`` seconds at most (``None``: however long)."""
        ...


class Answering(Protocol):
    """``schedule.board.Board``."""

    def handle(self, asker: int, asked: b.Question) -> Sequence[tuple[int, b.Answer]]:
        """The answers that follow, and whose they are."""
        ...


class InProcess:
    """Asks a board that no other process has: the whole run is in this one."""

    def __init__(self, board: Answering) -> None:
        self._board = board
        self._numbers = itertools.count()
        self._answers: dict[int, b.Answer] = {}
        self._tellers: dict[int, Callable[[b.Answer], None]] = {}
        self._changed = threading.Condition()
        self.held: dict[str, Any] = {}
        self.awaited: list[tuple[str, Any]] = []

    def ask(self, kind: Callable[..., b.Question], *words: object) -> b.Answer:
        with self._changed:
            return self._answers.pop(self._put(kind, *words))

    def acquire(self, lock: str, timeout: float | None) -> b.Answer:
        with self._changed:
            number = self._put(b.Acquire, lock, timeout != 0)
            try:
                if self._changed.wait_for(lambda: number in self._answers, timeout):
                    return self._answers.pop(number)
            except BaseException:
                self._cancel(number)
                raise
            self._cancel(number)
            return b.Answer(number, ok=False)

    def acquire_later(self, lock: str, told: Callable[[b.Answer], None]) -> int:
        with self._changed:
            number = next(self._numbers)
            self._tellers[number] = told
            self._take(self._board.handle(0, b.Acquire(number, lock, True)))
            return number

    def let_go(self, number: int) -> None:
        with self._changed:
            self._tellers.pop(number, None)
            self._cancel(number)

    def _put(self, kind: Callable[..., b.Question], *words: object) -> int:
        number = next(self._numbers)
        self._take(self._board.handle(0, kind(number, *words)))
        return number

    def _cancel(self, number: int) -> None:
        self._take(self._board.handle(0, b.Cancel(number)))
        self._answers.pop(number, None)

    def _take(self, replies: Sequence[tuple[int, b.Answer]]) -> None:
        for _, answer in replies:
            told = self._tellers.pop(answer.number, None)
            if told is None:
                self._answers[answer.number] = answer
            else:
                told(answer)
        self._changed.notify_all()


class Lock:
    """A lock that one strand of one process holds at a time, in all of the run. Not reentrant."""

    def __init__(self, asker: Asker, name: str) -> None:
        self._asker = asker
        self._name = name

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take it, as ``threading.Lock.acquire`` does; ``timeout`` is in seconds."""
        wait = timeout if timeout is None or timeout >= 0 else None
        answer = self._asker.acquire(self._name, wait if blocking else 0.0)
        if answer.note:
            warnings.warn(
                f"{answer.note}. What it protects may be half done.",
                pytest.PytestWarning,
                stacklevel=2,
            )
        return answer.ok

    def release(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: nobody holds it.
        """
        if not self._asker.ask(b.Release, self._name).ok:
            raise RuntimeError(f"release unlocked lock: nobody holds {self._name} (any more)")

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class MessageBoard(MutableMapping[Any, Any]):
    """A dictionary that all processes of the run have in common.

    What it gives is a copy: to change a value, set it anew. Keys and values are pickled, and a
    module that defines their class must be importable where they are read.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def __getitem__(self, key: Any) -> Any:
        return self._value(key, self._asker.ask(b.Get, _encoded(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._asker.ask(b.Put, _encoded(key), pickle.dumps(value))

    def __delitem__(self, key: Any) -> None:
        self._value(key, self._asker.ask(b.Remove, _encoded(key)))

    def __contains__(self, key: object) -> bool:
        return self._asker.ask(b.Get, _encoded(key)).found

    def __iter__(self) -> Iterator[Any]:
        return iter(self.copy())

    def __len__(self) -> int:
        return len(self._asker.ask(b.Items).items)

    def __repr__(self) -> str:
        return f"<MessageBoard {self.copy()!r}>"

    def copy(self) -> dict[Any, Any]:
        """What is on it now."""
        items = self._asker.ask(b.Items).items
        return {pickle.loads(key): pickle.loads(value) for key, value in items}  # noqa: S301 -- ours

    def keys(self) -> list[Any]:  # type: ignore[override]  # as of multiprocessing's
        return list(self.copy())

    def values(self) -> list[Any]:  # type: ignore[override]
        return list(self.copy().values())

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        return list(self.copy().items())

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """In one step: of two who do so, one has set it, and both get the same."""
        answer = self._asker.ask(b.Put, _encoded(key), pickle.dumps(default), True)
        return self._value(key, answer)

    def pop(self, key: Any, *default: Any) -> Any:
        """In one step: of two who do so, one gets it."""
        answer = self._asker.ask(b.Remove, _encoded(key))
        return self._value(key, answer) if answer.found or not default else default[0]

    def popitem(self) -> tuple[Any, Any]:
        """The one that came last."""
        answer = self._asker.ask(b.Remove, None)
        if not answer.found:
            raise KeyError("popitem(): the message board is empty")
        return pickle.loads(answer.items[0][0]), self._value(None, answer)  # noqa: S301 -- ours

    def clear(self) -> None:
        self._asker.ask(b.Clear)

    @staticmethod
    def _value(key: Any, answer: b.Answer) -> Any:
        if not answer.found:
            raise KeyError(key)
        return pickle.loads(answer.items[0][1])  # noqa: S301 -- from a process of this run


def _encoded(key: Any) -> bytes:
    """Equal keys give equal bytes: without the pickler's memo, which tells one object from its
    equals, and with whole numbers in one form."""
    hash(key)  # or it is no key
    if isinstance(key, bool) or (isinstance(key, float) and key.is_integer()):
        key = int(key)
    file = io.BytesIO()
    pickler = pickle.Pickler(file)
    pickler.fast = True
    pickler.dump(key)
    return file.getvalue()


class Trail:
    """What ``mp_trail`` is: ``with mp_trail("name") as is_first: ...``."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def __call__(self, name: str, state: str = "start") -> AbstractContextManager[bool]:
        """``start``: whether nobody else is on the trail; ``finish``: whether nobody is left on it.

        One body of a trail runs at a time. Who leaves that of a ``start`` by an exception has not
        started.

        Raises:
            ValueError: there is no such ``state``.
            RuntimeError: ``finish``, and nobody has started.
        """
        if state == "start":
            return self._start(name)
        if state == "finish":
            return self._finish(name)
        raise ValueError(f'mp_trail state must be "start" or "finish": {state!r}')

    @contextmanager
    def _start(self, name: str) -> Iterator[bool]:
        with self._body(name):
            is_first = self._asker.ask(b.Join, name).ok
            try:
                yield is_first
            except BaseException:
                self._asker.ask(b.Leave, name)
                raise

    @contextmanager
    def _finish(self, name: str) -> Iterator[bool]:
        with self._body(name):
            answer = self._asker.ask(b.Leave, name)
            if not answer.found:
                raise RuntimeError(
                    f'mp_trail({name!r}, "finish"): nobody is on this trail. Each finish needs a '
                    f'start before it that has not failed: with mp_trail({name!r}, "start")'
                )
            yield answer.ok

    def _body(self, name: str) -> Lock:
        return Lock(self._asker, f"mp_trail({name!r})")
