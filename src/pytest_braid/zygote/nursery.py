"""Forking workers on demand and telling how they end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from abc import ABC, abstractmethod
from typing import NamedTuple

from pytest_braid.seam import interpreter
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import WorkerKit

_POLL_MS = 20
"""How often children are looked at where the kernel has no pidfd."""


class Birth(NamedTuple):
    """What a worker knows of itself when it begins."""

    number: int
    slot: int
    kit: WorkerKit
    channel: Channel[m.ToZygote]
    packed: bytes
    mark: bytes


class Nursery(ABC):
    """Serves the controller's orders. Where children are forked, it returns a :class:`Birth` in
    every one of them.

    It is its workers' parent, so it alone can say for certain which signal ended one, and whether
    a process id is still theirs.
    """

    def __init__(self, channel: Channel[m.ToZygote]) -> None:
        self._channel = channel
        self._first: m.Fork | None = None
        self._children: dict[int, int] = {}  # worker -> pid
        self._watched: dict[int, int] = {}  # pidfd -> worker
        self._poll = select.poll()

    def wait_for_first(self) -> bool:
        """Wait for the first order; false if there will be no worker."""
        order = self._channel.receive()
        if isinstance(order, m.Fork):
            self._first = order
        elif order is None:
            os._exit(1)
        return self._first is not None

    def serve(self) -> Birth | None:
        """Fork and wait until the controller says that it is over and no worker is left (``None``).

        A worker that has said goodbye still runs the exit callbacks that it registered itself, and
        would be killed with its parent.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for each copy to let through
        self._on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or somebody else reaps
        self._poll.register(self._channel.fileno(), select.POLLIN)
        orders: list[m.ToZygote] = [self._first] if self._first else []
        is_over = False
        while True:
            orders += self._channel.waiting()
            for order in orders:
                match order:
                    case m.Fork():
                        birth = self._raise_worker(order)
                        if birth is not None:
                            return birth
                    case m.Signal():
                        self._signal(order)
                    case m.Shutdown():
                        is_over = True
            orders = []
            if is_over and not self._children:
                return None
            self._wait()

    def _wait(self) -> None:
        timeout = _POLL_MS if len(self._watched) < len(self._children) else None
        events = self._poll.poll(timeout)
        for worker in list(self._children):
            self._reap(worker)
        if any(fd == self._channel.fileno() for fd, _ in events) and not self._channel.read():
            self._kill_all()

    def _raise_worker(self, order: m.Fork) -> Birth | None:
        size = WorkerKit.size(is_live=bool(order.mark))
        kit = WorkerKit(*self._channel.take_descriptors(size))
        child = self.bear(order, kit)
        if isinstance(child, Birth):
            return child
        with contextlib.suppress(OSError):  # a forked child does so too: whoever is first
            os.setpgid(child, child)
        for descriptor in kit.descriptors():
            os.close(descriptor)
        self._watch(order.worker, child)
        return None

    @abstractmethod
    def bear(self, order: m.Fork, kit: WorkerKit) -> Birth | int:
        """Make a worker: its process id, or, if this is it, what it knows of itself."""

    def _watch(self, worker: int, pid: int) -> None:
        self._children[worker] = pid
        with contextlib.suppress(AttributeError, OSError):
            descriptor = os.pidfd_open(pid)
            self._watched[descriptor] = worker
            self._poll.register(descriptor, select.POLLIN)

    def _reap(self, worker: int) -> None:
        pid, status = os.waitpid(self._children[worker], os.WNOHANG)
        if pid == 0:
            return
        del self._children[worker]
        for descriptor, watched in list(self._watched.items()):
            if watched == worker:
                self._poll.unregister(descriptor)
                os.close(descriptor)
                del self._watched[descriptor]
        self._channel.send(m.Exited(worker, os.waitstatus_to_exitcode(status)))

    def _signal(self, order: m.Signal) -> None:
        pid = self._children.get(order.worker)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if order.group else os.kill)(pid, order.signum)

    def _kill_all(self) -> None:
        """The controller is gone."""
        for pid in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        os._exit(1)


class ForkingNursery(Nursery):
    """Of the zygote."""

    def __init__(self, channel: Channel[m.ToZygote]) -> None:
        super().__init__(channel)
        self._seeded = interpreter.seeded_random()

    def bear(self, order: m.Fork, kit: WorkerKit) -> Birth | int:
        parent = os.getpid()
        pid = interpreter.fork()
        if pid:
            return pid
        interpreter.restore_random(self._seeded)
        return self._be_born(order, kit, parent)

    def _be_born(self, order: m.Fork, kit: WorkerKit, parent: int) -> Birth:
        """A process group of its own: what a test sends to its group reaches this worker alone."""
        os.setpgid(0, 0)
        interpreter.die_with(parent)
        signal.signal(signal.SIGCHLD, self._on_child or signal.SIG_DFL)
        interpreter.let_interrupt()
        interpreter.forget_exit_callbacks()
        self._channel.close()
        for descriptor in self._watched:
            os.close(descriptor)
        kit = WorkerKit(*map(interpreter.out_of_reach, kit.descriptors()))
        channel: Channel[m.ToZygote] = Channel(socket.socket(fileno=kit.speech), m.ToZygote)
        return Birth(order.worker, order.slot, kit, channel, order.packed, order.mark)
