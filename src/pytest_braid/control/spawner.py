"""Workers that are spawned, seen from the controller: each is an interpreter of its own that
collects for itself, and what the first of them collects is the collection of the run."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from pytest_braid.control.child import Child, start_spawner
from pytest_braid.control.fleet import Death, Worker, Zygote
from pytest_braid.control.live import Live
from pytest_braid.control.texts import unspawnable
from pytest_braid.seam import interpreter, output
from pytest_braid.seam.hooks import provided
from pytest_braid.seam.identity import variables
from pytest_braid.wire import messages as m
from pytest_braid.wire.queue import FINISH
from pytest_braid.wire.values import pack

_REPORTING = frozenset(
    (
        *("pytest_runtest_logstart", "pytest_runtest_logreport", "pytest_runtest_logfinish"),
        *("pytest_report_header", "pytest_report_teststatus", "pytest_report_collectionfinish"),
        *("pytest_warning_recorded", "pytest_collectreport", "pytest_deselected"),
        *("pytest_sessionfinish", "pytest_terminal_summary", "pytest_unconfigure"),
        *("pytest_internalerror", "pytest_keyboard_interrupt", "pytest_handlecrashitem"),
        *("pytest_configure_node", "pytest_testnodeready", "pytest_testnodedown"),
        *("pytest_xdist_setupnodes", "pytest_xdist_newgateway"),
        *("pytest_xdist_node_collection_finished", "pytest_xdist_auto_num_workers"),
    )
)
"""Hooks with which a plugin hears of the run, in the controller: no test needs it in a worker."""


def make_spawner(
    config: pytest.Config, live: Live, reasons: Sequence[str], *, redirect: bool
) -> Spawner:
    """Start a process that spawns; ``reasons`` are those against forking.

    Raises:
        pytest.UsageError: workers would lack something that only this process has.
    """
    require_spawnable(config, reasons)
    flags = interpreter.flags()
    return Spawner(start_spawner(flags, redirect=redirect), live, config, flags)


def require_spawnable(config: pytest.Config, reasons: Sequence[str]) -> None:
    """Raise a ``UsageError`` if workers could not be told what this process was told. An object
    that only hears of the run is left out of them, as under pytest-xdist."""
    for plugin in config.invocation_params.plugins or ():
        names = () if isinstance(plugin, str) else provided(plugin)
        if not _REPORTING.issuperset(names):
            missing = sorted({*names} - _REPORTING)
            raise pytest.UsageError(unspawnable(repr(plugin), missing, reasons))


class Spawner(Zygote):
    """The process that spawns. It takes a zygote's orders, and collects nothing. ``flags`` are the
    interpreter's."""

    def __init__(
        self, child: Child, live: Live, config: pytest.Config, flags: Sequence[str]
    ) -> None:
        super().__init__(child, live)
        self._config = config
        self._flags = tuple(flags)
        self._basetemp = ""
        self._knows_collection = False
        self._early: dict[int, Worker] = {}
        self._ended: int | None = None
        """How the first worker ended, if it did so while it collected."""
        self._seed = str(int.from_bytes(os.urandom(4), "little"))

    def begin(self, nodes: Sequence[Any], basetemp: str) -> None:
        """Have the first workers collect, each for itself; ``basetemp`` is that of the run."""
        self._basetemp = basetemp
        for number, node in enumerate(nodes):
            self._early[number] = worker = super().launch(number, number, node)
            if number:
                worker.hold()

    def know_collection(self, basetemp: str) -> None:
        """A zygote that could not fork has collected already."""
        self._basetemp = basetemp
        self._knows_collection = True

    def launch(self, number: int, slot: int, node: Any) -> Worker:
        """Have a worker made, unless it is there already."""
        if number in self._early:
            return self._early.pop(number)
        worker = super().launch(number, slot, node)
        worker.hold()
        return worker

    def packed(self, number: int, node: Any) -> bytes:
        """The environment is the controller's as it is now, and the worker's name."""
        environment = {**os.environ, **variables(node.workerinput)}
        invoked = self._config.invocation_params
        launch = m.Launch(
            flags=self._flags,
            start=pack(
                [
                    [word for name in self._modules() for word in ("-p", name)]
                    + [*map(str, invoked.args)],
                    [*map(str, sys.argv)],
                    [*map(str, sys.path)],
                ]
            ),
            folder=str(invoked.dir),
            environment=pack(environment),
            hash_seed=self._seed,
            workerinput=pack(node.workerinput),
            basetemp=self._basetemp,
            markup=output.terminal_markup(self._config),
            is_reference=number == 0 and not self._knows_collection,
        )
        return msgspec.msgpack.encode(launch)

    def _modules(self) -> list[str]:
        """Plugins that ``pytest.main`` was given by their names."""
        plugins = self._config.invocation_params.plugins or ()
        return [plugin for plugin in plugins if isinstance(plugin, str)]

    def collected(self) -> m.FromZygote | m.FromWorker | None:
        """What the first worker says next. Its process can be gone although its socket is open: a
        test module may have forked another."""
        channel = self._early[0].channel
        while (said := channel.waiting_one()) is None:
            if self._ended is not None:
                while select.select([channel.fileno()], [], [], 0)[0] and channel.read():
                    pass
                return channel.waiting_one()
            ready = self.live.wait_for(channel.fileno(), self.channel.fileno())
            if self.channel.fileno() in ready:
                self._note_end()
            if channel.fileno() in ready:
                channel.read()
        return said

    def _note_end(self) -> None:
        if not self.channel.read():
            self._ended = self.wait()
        for said in self.channel.arrived():  # of other workers the loop is to hear
            if isinstance(said, m.Exited) and said.worker == 0:
                self._ended = said.status

    def break_off(self) -> None:
        self.interrupt(self._early)

    def collector(self) -> Death:
        worker = self._early[0]
        printed = [text for _, text in worker.last_words()]
        return Death(self._ended or 0, worker.place(), "\n".join([*printed, self.printed()]))

    def kill_spares(self) -> None:
        for number in self._early:
            self.send(m.Signal(number, signal.SIGKILL, group=True))

    def shut_down(self) -> None:
        """Also of workers that have not got a test: they were spares, and may still collect."""
        for worker in self._early.values():
            worker.queue.put((FINISH,))
        self.interrupt(self._early)
        super().shut_down()

    def last_messages(self) -> Iterator[tuple[int, m.FromZygote | m.FromWorker]]:
        """And what those workers say that have not got a test."""
        speakers = {worker.channel.fileno(): worker for worker in self._early.values()}
        alive = True
        while alive:
            for descriptor in self.live.wait_for(self.channel.fileno(), *speakers):
                if descriptor == self.channel.fileno():
                    alive = self.channel.read()
                    yield from ((0, said) for said in self.channel.waiting())
                    continue
                worker = speakers[descriptor]
                if not worker.channel.read():
                    del speakers[descriptor]
                yield from ((worker.slot, said) for said in worker.channel.waiting())

    def close(self) -> None:
        super().close()
        for worker in self._early.values():
            worker.close()
        self._early.clear()
