"""Where what workers ask each other is answered, without ever waiting for one to read."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Iterable

from pytest_braid.control.fleet import Worker
from pytest_braid.model import board as b
from pytest_braid.model import holders as h
from pytest_braid.model.shares import Borrow, Lent, Return
from pytest_braid.schedule.board import Board, Reply
from pytest_braid.schedule.holders import Holders
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Encoder

Place = tuple[Worker, str]
"""A worker, and the node id of its test, where it runs several at once."""


class Desk:
    """Asks the board, or the ``holders`` of values, and posts their answers. What a worker's socket
    does not take at once is kept, and sent when ``poll``, at which the loop waits, says that it
    would."""

    def __init__(self, poll: select.poll, holders: Holders) -> None:
        self._poll = poll
        self._board = Board()
        self._holders = holders
        self._frame = Encoder().frame
        self._workers: dict[int, Worker] = {}
        self._unsent: dict[int, tuple[Worker, deque[_Parcel]]] = {}

    def open(self, worker: Worker) -> None:
        """The worker may ask."""
        self._workers[worker.number] = worker

    def poll(self, timeout: float | None) -> set[int]:
        """Descriptors that can be read, after so many milliseconds at most."""
        found = self._poll.poll(timeout)
        for descriptor, event in found if self._unsent else ():
            if event & select.POLLOUT and descriptor in self._unsent:
                self._flush(descriptor)
        return {descriptor for descriptor, event in found if event != select.POLLOUT}

    def hear(self, worker: Worker, said: m.Asks) -> None:
        """A worker asks."""
        asked = said.question
        assert not isinstance(asked, Borrow | Return)
        if isinstance(asked, h.Question):
            self._post(self._holders.handle(worker.number, asked))
            return
        self._post(self._board.handle(worker.number, asked))
        if isinstance(asked, b.Cancel):
            self._post(self._holders.cancel(worker.number, asked.number))

    def waits(self) -> list[tuple[Place, Place]]:
        """Who waits for a lock, each with the one who holds it."""
        found = []
        for waiting, holding in self._board.waits():
            workers = self._workers.get(waiting.asker), self._workers.get(holding.asker)
            if workers[0] is not None and workers[1] is not None:
                found.append(((workers[0], waiting.test), (workers[1], holding.test)))
        return found

    def left(self, worker: Worker, crash: str | None) -> None:
        """A worker has ended, and will read no more. ``crash`` says how, in words, if it was not in
        order: who gets a lock that it had is told so."""
        self._close(worker)
        while_held = how = None
        if crash is not None:
            while_held = f"worker '{worker.name}' crashed while it held it, {crash}"
            how = f"worker '{worker.name}' crashed, {crash}"
        self._post(self._board.gone(worker.number, while_held))
        self._post(self._holders.gone(worker.number, how))

    def _close(self, worker: Worker) -> None:
        self._workers.pop(worker.number, None)
        _, parcels = self._unsent.pop(worker.channel.fileno(), (None, ()))
        for parcel in parcels:
            parcel.close()

    def _post(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            worker = self._workers.get(reply.asker)
            if worker is not None:
                self._send(worker, self._frame((m.Told(reply.answer),)))

    def tell(self, number: int, answer: Lent, file: int | None) -> None:
        """Post an answer of another kind to a worker, if it is there; a file may travel with it."""
        worker = self._workers.get(number)
        if worker is not None:
            self._send(worker, self._frame((m.Told(answer),)), file)

    def _send(self, worker: Worker, data: bytes, file: int | None = None) -> None:
        descriptor = worker.channel.fileno()
        parcel = _Parcel(bytearray(data), file if file is None else os.dup(file))
        if descriptor in self._unsent:
            self._unsent[descriptor][1].append(parcel)
        elif not parcel.send(worker.channel.socket):
            self._unsent[descriptor] = worker, deque([parcel])
            self._poll.modify(descriptor, select.POLLIN | select.POLLOUT)

    def _flush(self, descriptor: int) -> None:
        worker, parcels = self._unsent[descriptor]
        while parcels and parcels[0].send(worker.channel.socket):
            parcels.popleft()
        if not parcels:
            del self._unsent[descriptor]
            self._poll.modify(descriptor, select.POLLIN)


class _Parcel:
    """Bytes to send, and perhaps a file, which travels with the first of them."""

    def __init__(self, data: bytearray, file: int | None) -> None:
        self._data = data
        self._file = file

    def send(self, to: socket.socket) -> bool:
        """Send what is taken; whether that was all. It is, too, if nobody will read it: the
        worker's end is noticed elsewhere."""
        files = [] if self._file is None else [self._file]
        try:
            while self._data:
                sent = socket.send_fds(to, [self._data], files, socket.MSG_DONTWAIT)
                del self._data[:sent]
                self.close()
                files = []
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.close()
        return True

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
