"""Locks, counts and messages that the processes of a run have in common: questions in, answers out.

An asker is a process, by its number. Nothing here waits: who cannot have a lock is answered when
another gives it back.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple, assert_never

import msgspec

from pytest_braid.model import board as b


class Reply(NamedTuple):
    """An answer, and whose it is."""

    asker: int
    answer: b.Answer


class Asking(NamedTuple):
    """Who has asked for a lock: the asker and its test, by the question of this number."""

    asker: int
    number: int
    test: str = ""


class _Lock(msgspec.Struct):
    """``holder`` is who has taken it."""

    holder: Asking | None = None
    waiting: deque[Asking] = msgspec.field(default_factory=deque)
    note: str = ""
    """What the next holder is to be told of the last."""


class Board:
    """Who has which lock and who is next, who is on which trail, and what is on the board.

    A lock goes to those who wait for it in the order in which they asked. Of an asker that is gone
    nothing remains but what it has written, and its marks on trails if it has not crashed: another
    may finish what it has started.
    """

    def __init__(self) -> None:
        """Begin with no locks taken, and an empty board."""
        self._locks: dict[str, _Lock] = {}
        self._trails: dict[str, Counter[int]] = {}
        self._messages: dict[bytes, bytes] = {}

    def handle(self, asker: int, asked: b.Question) -> list[Reply]:
        """The answers that follow: one to the asker, unless it must wait; others' perhaps."""
        match asked:
            case b.Acquire():
                return self._acquire(asker, asked)
            case b.Release():
                return self._release(asker, asked)
            case b.Cancel():
                return self._cancel(asker, asked.number)
            case b.Join() | b.Leave():
                return [Reply(asker, self._on_trail(asker, asked))]
            case b.Get() | b.Put() | b.Remove() | b.Clear() | b.Items():
                return [Reply(asker, self._on_board(asked))]
            case _:
                assert_never(asked)

    def gone(self, asker: int, crash: str | None = None) -> list[Reply]:
        """An asker's process has ended; ``crash`` says how, in words, if it was not in order."""
        replies: list[Reply] = []
        for name, lock in list(self._locks.items()):
            lock.waiting = deque(each for each in lock.waiting if each.asker != asker)
            if lock.holder is not None and lock.holder.asker == asker:
                how = crash or "its process has ended, and had not given it back"
                lock.note = f"{name}: the last to hold it is gone: {how}"
                replies += self._pass_on(lock)
        if crash is not None:
            for users in self._trails.values():
                del users[asker]
        return replies

    def _acquire(self, asker: int, asked: b.Acquire) -> list[Reply]:
        lock = self._locks.setdefault(asked.lock, _Lock())
        if lock.holder is not None and not asked.waits:
            return [Reply(asker, b.Answer(asked.number, ok=False))]
        lock.waiting.append(Asking(asker, asked.number, asked.test))
        return [] if lock.holder is not None else self._pass_on(lock)

    def _release(self, asker: int, asked: b.Release) -> list[Reply]:
        lock = self._locks.get(asked.lock)
        if lock is None or lock.holder is None:
            return [Reply(asker, b.Answer(asked.number, ok=False))]
        return [Reply(asker, b.Answer(asked.number)), *self._pass_on(lock)]

    def _cancel(self, asker: int, number: int) -> list[Reply]:
        for lock in self._locks.values():
            for each in lock.waiting:
                if each[:2] == (asker, number):
                    lock.waiting.remove(each)
                    return []
            if lock.holder is not None and lock.holder[:2] == (asker, number):
                return self._pass_on(lock)
        return []

    def waits(self) -> list[tuple[Asking, Asking]]:
        """Who waits, each with the one who holds what it waits for."""
        return [
            (each, lock.holder)
            for lock in self._locks.values()
            if lock.holder is not None
            for each in lock.waiting
        ]

    @staticmethod
    def _pass_on(lock: _Lock) -> list[Reply]:
        lock.holder = lock.waiting.popleft() if lock.waiting else None
        if lock.holder is None:
            return []
        note, lock.note = lock.note, ""
        return [Reply(lock.holder.asker, b.Answer(lock.holder.number, note=note))]

    def _on_trail(self, asker: int, asked: b.Join | b.Leave) -> b.Answer:
        users = self._trails.setdefault(asked.trail, Counter())
        before = users.total()
        if isinstance(asked, b.Join):
            users[asker] += 1
            return b.Answer(asked.number, ok=before == 0)
        if before:
            own = asker if users[asker] else next(iter(+users))
            users[own] -= 1
        return b.Answer(asked.number, ok=before == 1, found=before > 0)

    def _on_board(self, asked: b.Get | b.Put | b.Remove | b.Clear | b.Items) -> b.Answer:
        messages = self._messages
        match asked:
            case b.Put():
                if not (asked.only_new and asked.key in messages):
                    messages[asked.key] = asked.value
                return self._found(asked.number, asked.key)
            case b.Get():
                return self._found(asked.number, asked.key)
            case b.Remove():
                key = next(reversed(messages), None) if asked.key is None else asked.key
                answer = self._found(asked.number, key)
                messages.pop(key or b"", None)
                return answer
            case b.Clear():
                messages.clear()
                return b.Answer(asked.number)
            case b.Items():
                return b.Answer(asked.number, items=tuple(messages.items()))

    def _found(self, number: int, key: bytes | None) -> b.Answer:
        if key is None or key not in self._messages:
            return b.Answer(number, found=False)
        return b.Answer(number, items=((key, self._messages[key]),))
