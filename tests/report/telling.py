"""A small run, told to readers by hand."""

from __future__ import annotations

from typing import Any, Protocol

from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.model.needs import Hold, Needs

DB = Needs(holds=(Hold("db"),))
NODEIDS = ("test_a.py::test_1", "test_a.py::test_2", "b/test_b.py::TestB::test_3[</script>]")


class Told(Protocol):
    def event(self, event: Any) -> None: ...
    def command(self, command: Any, at: float) -> None: ...


def tell(*readers: Told, until: int = 100) -> None:
    """Two workers: the first runs ``test_1`` from 1 to 3 s; ``test_2`` waits for it until then, and
    fails from 3.5 to 4 s; the second worker dies of ``test_3`` at 2 s. Only so many are told."""
    for it in _story()[:until]:
        for reader in readers:
            if isinstance(it, tuple):
                reader.command(*it)
            else:
                reader.event(it)


def _story() -> list[Any]:
    return [
        e.RunStarted(run="it", workers=2, mode="load", wall=1e9, at=100.0),
        e.TestsCollected(nodeids=NODEIDS, needs={0: DB, 1: DB}, at=100.5),
        (c.StartWorker(0), 100.5),
        (c.StartWorker(1), 100.5),
        (c.Assign(0, (0,)), 100.6),
        (c.Assign(1, (2,)), 100.6),
        (c.Wait(1, "resource 'db'", (0,)), 100.6),
        e.WorkerReady(worker=0, at=100.9),
        e.WorkerReady(worker=1, at=100.9),
        e.Started(worker=0, test=0, at=101.0),
        e.Started(worker=1, test=2, at=101.5),
        e.WorkerDied(worker=1, running=2, at=102.0),
        *_phases(0, 102.9, "passed"),
        e.Finished(worker=0, test=0, at=103.0),
        (c.Assign(0, (1,)), 103.1),
        e.Started(worker=0, test=1, at=103.5),
        *_phases(1, 103.9, "failed"),
        e.Finished(worker=0, test=1, at=104.0),
        e.WorkerEnded(worker=0, at=104.1),
        e.RunEnded(unfinished=(), at=104.2),
    ]


def _phases(test: int, at: float, outcome: str) -> list[e.Reported]:
    phases = (("setup", "passed"), ("call", outcome), ("teardown", "passed"))
    return [
        e.Reported(worker=0, test=test, when=when, outcome=how, duration=0.1, at=at)
        for when, how in phases
    ]
