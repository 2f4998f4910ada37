"""Asks the controller, over the worker's own socket, and waits for what it answers."""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
import time
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from pytest_braid.capture.ownership import owner
from pytest_braid.model import board as b
from pytest_braid.model import shares as s
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Frames
from pytest_braid.worker.speech import Speech

_CHUNK = 1 << 18
_MOST_FILES = 16


class Loan(NamedTuple):
    """The answer to the question of this ``number`` for a shared fixture; ``file`` is the
    descriptor of its value, which is the asker's to close."""

    number: int
    answer: s.Lent
    file: int | None


class Clerk:
    """Several threads may ask at once: one of those that wait reads, for all of them. For those
    who do not wait in a thread, but want to be told, there is another as long as there are any.

    Whoever is made to stop waiting (a time-out, Ctrl-C) withdraws its question: a lock that is
    granted in the same moment goes back.
    """

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._numbers = itertools.count()
        self._answers: dict[int, b.Answer | s.Lent] = {}
        self._files: dict[int, int] = {}
        self._arrived: deque[int] = deque()
        self._tellers: dict[int, Callable[[b.Answer], None]] = {}
        """Who is to be told what is answered to which question."""
        self._is_listening = False
        """Whether there is a thread that reads for them."""
        self._given_up: set[int] = set()
        self._frames: Frames[m.Told] = Frames(m.Told)
        self._changed = threading.Condition()
        self._is_read = False
        """Whether a thread reads the socket."""
        self._owner = os.getpid()
        self.held: dict[str, Any] = {}
        self.awaited: list[tuple[str, Any]] = []
        # Bound here, before a test can patch the modules.
        self._pid, self._clock = os.getpid, time.monotonic
        self._recv = partial(socket.recv_fds, speech.socket, _CHUNK, _MOST_FILES)
        self._close = os.close
        poll = select.poll()
        poll.register(speech.socket.fileno(), select.POLLIN)
        self._poll = poll.poll

    def ask(self, kind: Callable[..., b.Ask], *words: object) -> b.Answer:
        """The answer to a question of this kind."""
        _, answer = self._ask(lambda number: kind(number, *words), None, None)
        assert isinstance(answer, b.Answer)
        return answer

    def acquire(self, lock: str, timeout: float | None) -> b.Answer:
        """Take a lock, waiting for ``timeout`` seconds at most (``None``: however long)."""
        wait = timeout or None  # what does not wait is answered at once
        number, answer = self._ask(
            lambda number: b.Acquire(number, lock, timeout != 0, _test()), wait, None
        )
        assert not isinstance(answer, s.Lent)
        return b.Answer(number, ok=False) if answer is None else answer

    def borrow(self, test: int, share: s.Share) -> Loan:
        """The value of a shared fixture, as soon as it is set up, for a test."""
        return self._loan(
            lambda number: s.Borrow(number, share.key, share.params, share.label), test
        )

    def give_back(self, borrowed: int) -> Loan:
        """Return what was the answer to this question; waits, if nobody else has it, until it is
        torn down."""
        return self._loan(lambda number: s.Return(number, borrowed), None)

    def _loan(self, make: Callable[[int], s.Borrow | s.Return], test: int | None) -> Loan:
        number, answer = self._ask(make, None, test)
        assert isinstance(answer, s.Lent)
        return Loan(number, answer, self._files.pop(number, None))

    def acquire_later(self, lock: str, told: Callable[[b.Answer], None]) -> int:
        """The number of the question; ``told`` is called, in any thread, when the lock is taken."""
        self._refuse_copies()
        number = next(self._numbers)
        with self._changed:
            self._tellers[number] = told
            if not self._is_listening:
                self._is_listening = True
                start_new_thread(self._listen, ())
        try:
            self._speech.say_apart(m.Asks(b.Acquire(number, lock, True, _test())))
        except BaseException:
            self.let_go(number)
            raise
        return number

    def let_go(self, number: int) -> None:
        """Of the lock that this question has taken, or of the place among those who wait."""
        with self._changed:
            has_waited = self._tellers.pop(number, None) is not None
            if has_waited:
                self._given_up.add(number)
            is_idle = has_waited and not self._tellers
        self._speech.say_apart(m.Asks(b.Cancel(number)))
        if is_idle:
            self._wake_listener()

    def _wake_listener(self) -> None:
        """With an answer: tests that fork are to find no thread that nobody needs."""
        number = next(self._numbers)
        with self._changed:
            self._given_up.add(number)
        self._speech.say_apart(m.Asks(b.Get(number, b"")))

    def _listen(self) -> None:
        """In a thread of its own."""
        with self._changed:
            try:
                while self._tellers:
                    if self._is_read:
                        self._changed.wait()
                    else:
                        self._read(None)
            except (EOFError, OSError):
                pass  # the controller is gone, and so will be this process
            finally:
                self._is_listening = False

    def _refuse_copies(self) -> None:
        if self._pid() != self._owner:
            raise RuntimeError(
                "mp_lock, mp_message_board, mp_trail, pytest_braid.Lock and the fixtures that the "
                "whole run shares belong to the process that runs the test, and this is one that "
                "it has forked: use them there, and what it finds here"
            )

    def _ask(
        self,
        make: Callable[[int], b.Ask | s.Borrow | s.Return],
        timeout: float | None,
        test: int | None,
    ) -> tuple[int, b.Answer | s.Lent | None]:
        """The number of a question, and its answer, if that came in time."""
        self._refuse_copies()
        number = next(self._numbers)
        try:
            question: Any = make(number)
            self._speech.say_apart(m.Asks(question, test))
            answer = self._await(number, timeout)
        except BaseException:
            self._give_up(number)
            raise
        if answer is None:
            self._give_up(number)
        return number, answer

    def _give_up(self, number: int) -> None:
        with self._changed:
            if self._answers.pop(number, None) is None:
                self._given_up.add(number)
            self._drop(number)
        self._speech.say_apart(m.Asks(b.Cancel(number)))

    def _drop(self, number: int) -> None:
        file = self._files.pop(number, None)
        if file is not None:
            self._close(file)

    def _await(self, number: int, timeout: float | None) -> b.Answer | s.Lent | None:
        latest = None if timeout is None else self._clock() + timeout
        with self._changed:
            while number not in self._answers:
                left = None if latest is None else latest - self._clock()
                if left is not None and left <= 0:
                    return None
                if self._is_read:
                    self._changed.wait(left)
                else:
                    self._read(left)
            return self._answers.pop(number)

    def _read(self, patience: float | None) -> None:
        """Let the others in while this thread waits for what comes next, for so many seconds."""
        self._is_read = True
        self._changed.release()
        try:
            is_there = self._poll(None if patience is None else max(1, int(patience * 1000)))
            data, files, *_ = self._recv() if is_there else (None, ())
        finally:
            self._changed.acquire()
            self._is_read = False
            self._changed.notify_all()
        if data == b"":
            raise EOFError("the controller is gone")
        self._arrived.extend(files)
        for told in self._frames.feed(data or b""):
            self._take_in(told.answer)

    def _take_in(self, answer: b.Answer | s.Lent) -> None:
        number = answer.number
        if isinstance(answer, s.Lent) and answer.has_value:
            self._files[number] = self._arrived.popleft()
        if number in self._given_up:
            self._given_up.discard(number)
            self._drop(number)
        elif number in self._tellers and isinstance(answer, b.Answer):
            self._tellers.pop(number)(answer)
        else:
            self._answers[number] = answer


def _test() -> str:
    """The node id of the test that asks, where several run at once."""
    asking = owner()
    return "" if asking is None else asking.item.nodeid
