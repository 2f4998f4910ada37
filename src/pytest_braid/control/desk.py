"""Where what workers ask each other is answered, without ever waiting for one to read."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable

from pytest_braid.control.fleet import Worker
from pytest_braid.schedule.board import Board, Reply
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Encoder

Place = tuple[Worker, str]
"""A worker, and the node id of its test, where it runs several at once."""


class Desk:
    """Asks the board, and posts its answers. What a worker's socket does not take at once is kept,
    and sent when ``poll``, at which the loop waits, says that it would."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._board = Board()
        self._frame = Encoder().frame
        self._workers: dict[int, Worker] = {}
        self._unsent: dict[int, tuple[Worker, bytearray]] = {}

    def open(self, worker: Worker) -> None:
        """The worker may ask."""
        self._workers[worker.number] = worker

    def close(self, worker: Worker) -> None:
        """The worker will read no more."""
        self._workers.pop(worker.number, None)
        self._unsent.pop(worker.channel.fileno(), None)

    def poll(self, timeout: float | None) -> set[int]:
        """Descriptors that can be read, after so many milliseconds at most."""
        found = self._poll.poll(timeout)
        for descriptor, event in found if self._unsent else ():
            if event & select.POLLOUT and descriptor in self._unsent:
                self._flush(descriptor)
        return {descriptor for descriptor, event in found if event != select.POLLOUT}

    def hear(self, worker: Worker, said: m.Asks) -> None:
        """A worker asks."""
        self._post(self._board.handle(worker.number, said.question))

    def waits(self) -> list[tuple[Place, Place]]:
        """Who waits for a lock, each with the one who holds it."""
        found = []
        for waiting, holding in self._board.waits():
            workers = self._workers.get(waiting.asker), self._workers.get(holding.asker)
            if workers[0] is not None and workers[1] is not None:
                found.append(((workers[0], waiting.test), (workers[1], holding.test)))
        return found

    def crashed(self, worker: Worker, why: str) -> None:
        """A worker has died. Who gets a lock that it had is told so."""
        how = f"worker '{worker.name}' crashed while it held it, {why}"
        self._post(self._board.gone(worker.number, how))

    def left(self, worker: Worker) -> None:
        """A worker has ended in order."""
        self._post(self._board.gone(worker.number))

    def _post(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            worker = self._workers.get(reply.asker)
            if worker is not None:
                self._send(worker, self._frame(m.Told(reply.answer)))

    def _send(self, worker: Worker, data: bytes) -> None:
        descriptor = worker.channel.fileno()
        if descriptor in self._unsent:
            self._unsent[descriptor][1].extend(data)
            return
        rest = data[_sent(worker, data) :]
        if rest:
            self._unsent[descriptor] = worker, bytearray(rest)
            self._poll.modify(descriptor, select.POLLIN | select.POLLOUT)

    def _flush(self, descriptor: int) -> None:
        worker, rest = self._unsent[descriptor]
        del rest[: _sent(worker, rest)]
        if not rest:
            del self._unsent[descriptor]
            self._poll.modify(descriptor, select.POLLIN)


def _sent(worker: Worker, data: bytes | bytearray) -> int:
    """How many bytes are gone; all, if nobody will read them: its end is noticed elsewhere."""
    try:
        return worker.channel.socket.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0
    except ConnectionError:
        return len(data)
