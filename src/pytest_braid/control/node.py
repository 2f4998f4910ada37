"""Nodes: what hooks and plugins written for pytest-xdist see of a worker.

Attribute names and meaning are xdist's (``WorkerController``, execnet's ``Gateway``); what has no
meaning here (a remote path, a channel) is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_braid.control.fleet import HOST
from pytest_braid.wire import messages as m


class Spec:
    """How a worker is started; ``popen`` for every local one."""

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.popen = True
        self.python = self.chdir = self.via = None
        self._spec = "popen"

    def __str__(self) -> str:
        return self._spec


class RemoteInfo(NamedTuple):
    platform: str
    version_info: tuple[Any, ...]
    executable: str
    cwd: str
    pid: int | None


class Gateway:
    def __init__(self, identity: str) -> None:
        self.id = identity
        self.spec = Spec(identity)

    def _rinfo(self, update: bool = False) -> RemoteInfo:  # noqa: ARG002 -- execnet's signature
        return RemoteInfo(
            sys.platform, tuple(sys.version_info), sys.executable, str(Path.cwd()), None
        )

    def __repr__(self) -> str:
        return f"<Gateway {self.id}>"


class NodeManager:
    """What the nodes of a run have in common."""

    def __init__(self, config: pytest.Config, testrun_uid: str, told: dict[str, Any]) -> None:
        """``told`` is what every worker is told beyond what one of pytest-xdist's is."""
        self.config = config
        self.testrunuid = testrun_uid
        self.told = told
        self.roots: list[str] = []
        self.specs: list[Spec] = []


class Node:
    """One worker and its successors in the slot, for hooks."""

    def __init__(self, manager: NodeManager, slot: int, workers: int) -> None:
        name = f"gw{slot}"
        self.gateway = Gateway(name)
        self.nodemanager = manager
        self.config = manager.config
        self.workerinput: dict[str, Any] = {
            "workerid": name,
            "workercount": workers,
            "testrunuid": manager.testrunuid,
            "mainargv": list(sys.argv),
        }
        self.workerinput.update(manager.told)
        self.workeroutput: dict[str, Any] = {}
        self.workerinfo: dict[str, Any] = {
            "id": name,
            "version": sys.version,
            "version_info": tuple(sys.version_info),
            "sysplatform": sys.platform,
            "platform": sys.platform,
            "executable": sys.executable,
            "cwd": str(Path.cwd()),
            "spec": self.gateway.spec,
        }

    def __repr__(self) -> str:
        return f"<Node {self.gateway.id}>"


def host_node(first: Node) -> Node:
    """What the fixture host is told of itself: as the first worker, but for its name."""
    node = Node(first.nodemanager, 0, first.workerinput["workercount"])
    node.gateway = Gateway(HOST)
    node.workerinput = first.workerinput | {"workerid": HOST}
    return node


class Slots:
    """The node of each slot that is taken: made for its first worker, down with its last.

    ``make`` makes a node and lets plugins configure it.
    """

    def __init__(
        self, config: pytest.Config, make: Callable[[int], Node], tests: Sequence[m.Test]
    ) -> None:
        self._hook: Any = config.hook
        self._make = make
        self._tests = tests
        self._nodes: dict[int, Node] = {}
        self._ready: set[int] = set()

    def node(self, slot: int) -> Node:
        if slot not in self._nodes:
            self._nodes[slot] = self._make(slot)
        return self._nodes[slot]

    def ready(self, slot: int) -> None:
        """A worker of the slot is up; plugins hear of the first."""
        if slot in self._ready:
            return
        self._ready.add(slot)
        self._hook.pytest_testnodeready(node=self._nodes[slot])
        collected = self._hook.pytest_xdist_node_collection_finished
        if collected.get_hookimpls():
            collected(node=self._nodes[slot], ids=[test.nodeid for test in self._tests])

    def down(self, slot: int, error: str | None) -> None:
        """The last worker of the slot has ended; ``error`` says how, if it crashed."""
        self._hook.pytest_testnodedown(node=self._nodes.pop(slot), error=error)
