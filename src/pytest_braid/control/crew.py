"""The workers that are there: started, listened to, dealt to, and forgotten."""

from __future__ import annotations

import select
from collections.abc import Iterator, KeysView
from collections.abc import Set as AbstractSet
from typing import assert_never

from pytest_braid.control.fleet import Duty, Worker, Zygote
from pytest_braid.control.node import Slots
from pytest_braid.control.watch import Watch
from pytest_braid.model import commands as c
from pytest_braid.wire.queue import END, FINISH, RETIRE

Order = c.Assign | c.End | c.Keep | c.Finish | c.Retire
"""What is decided of one worker. It may be gone by the time."""


class Crew:
    """The workers of a run of so many ``tests``, of which ``zygote`` makes more. The loop waits at
    ``poll`` for what they say; ``watch`` knows how long they may take."""

    def __init__(
        self, zygote: Zygote, slots: Slots, poll: select.poll, watch: Watch, tests: int
    ) -> None:
        self._zygote = zygote
        self._slots = slots
        self._poll = poll
        self._watch = watch
        self._tests = tests
        self._workers: dict[int, Worker] = {}
        self._readable: dict[int, Worker] = {}
        self.newest = 0, 0
        """The highest number of a worker, and of a slot."""

    # --- who is there -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        """Those of this moment, whoever comes or leaves meanwhile."""
        return iter([*self._workers.values()])

    @property
    def numbers(self) -> KeysView[int]:
        return self._workers.keys()

    def get(self, number: int) -> Worker | None:
        return self._workers.get(number)

    def is_in(self, slot: int) -> bool:
        """Whether there is a worker in this slot."""
        return any(worker.slot == slot for worker in self._workers.values())

    def least_queued(self) -> int:
        """How many tests each of them has in its queue, at least."""
        return min((worker.queued for worker in self._workers.values()), default=0)

    # --- they come, are listened to, and leave ------------------------------------------------

    def start(self, number: int, slot: int) -> Worker:
        """Have one more, which may be dealt to before it is up."""
        worker = self._zygote.launch(number, slot, self._slots.node(slot))
        worker.tests = self._tests
        self.newest = max(self.newest[0], number), max(self.newest[1], slot)
        self._workers[number] = worker
        self._readable[worker.channel.fileno()] = worker
        self._poll.register(worker.channel.fileno(), select.POLLIN)
        return worker

    def talking(self, ready: AbstractSet[int]) -> list[Worker]:
        """Those who have said something, of whose descriptors so many can be read."""
        return [self._readable[descriptor] for descriptor in ready & self._readable.keys()]

    def is_heard(self, worker: Worker) -> bool:
        """Whether it could say more, as far as is known."""
        return worker.channel.fileno() in self._readable

    def hang_up(self, worker: Worker) -> None:
        """It will say nothing any more."""
        if self._readable.pop(worker.channel.fileno(), None) is not None:
            self._poll.unregister(worker.channel.fileno())

    def forget(self, worker: Worker) -> None:
        """It has left."""
        self._watch.gone(worker)
        del self._workers[worker.number]
        self.hang_up(worker)

    # --- what is decided of them --------------------------------------------------------------

    def carry_out(self, order: Order) -> None:
        """Deal tests, or say that there are none."""
        worker = self._workers.get(order.worker)
        if worker is None:
            return
        match order:
            case c.Assign():
                worker.assign(order.tests)
                self._watch.answered(worker)
            case c.End():
                worker.queue.put((END,))
                self._watch.answered(worker)
            case c.Keep():
                worker.keep(order.until)
                self._watch.answered(worker)
            case c.Finish():
                self.finish(worker)
            case c.Retire():
                self._dismiss(worker, Duty.RETIRING, RETIRE)
            case _:
                assert_never(order)

    def take_back(self, number: int, *, asides: bool) -> tuple[int, ...]:
        """The tests that a worker has not seen yet, or has put aside: they are not its any more."""
        worker = self._workers.get(number)
        return () if worker is None else worker.take_back(asides=asides)

    def finish(self, worker: Worker) -> None:
        """Let it end its session."""
        self._dismiss(worker, Duty.FINISHING, FINISH)

    def _dismiss(self, worker: Worker, duty: Duty, record: int) -> None:
        worker.duty = duty
        worker.queue.put((record,))
        self._watch_end(worker)

    def is_up(self, worker: Worker) -> None:
        """It has said that it will take tests. It may have been dismissed before."""
        worker.is_ready = True
        self._watch_end(worker)

    def _watch_end(self, worker: Worker) -> None:
        if worker.is_ready and worker.duty is not Duty.TESTS:
            self._watch.dismissed(worker)
