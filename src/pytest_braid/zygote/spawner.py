"""The process that starts workers where none can be forked: a nursery without a session.

Its orders are those that a zygote takes, and so are its answers. What it starts collects for
itself (``zygote.spawned``).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from typing import NoReturn

import msgspec
from msgspec.structs import replace

from pytest_braid.seam import interpreter
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import WorkerKit
from pytest_braid.wire.values import unpack
from pytest_braid.zygote.nursery import Birth, Nursery

_WORKER = """
import sys
sys.path[:] = filter(None, sys.path)
import json, mmap, os, socket, traceback
args, sys.argv[:], path = json.loads(sys.stdin.buffer.readline())
launch = sys.stdin.buffer.read()
nothing = os.open(os.devnull, os.O_RDONLY)
os.dup2(nothing, 0)
os.close(nothing)
sys.path += path
import msgspec, pytest
sys.path[:] = path
sys.exit(pytest.main(["-p", "pytest_braid.zygote.spawned", *args]))
"""
"""It imports nothing of braid before pytest does, which warns of plugins that it cannot rewrite;
and nothing of the project, whose modules may have the names of the interpreter's."""


def main() -> NoReturn:
    """``argv``: the number of the descriptor to the controller, and the controller's process id."""
    descriptor, parent = map(int, sys.argv[1:3])
    interpreter.die_with(parent)
    channel: Channel[m.ToZygote] = Channel(socket.socket(fileno=descriptor), m.ToZygote)
    SpawningNursery(channel).serve()
    channel.send(m.ZygoteEnded(0, None))
    os._exit(0)


class SpawningNursery(Nursery):
    """Every worker is a new interpreter."""

    def __init__(self, channel: Channel[m.ToZygote]) -> None:
        super().__init__(channel)
        self._processes: list[subprocess.Popen[bytes]] = []  # or they complain when collected

    def bear(self, order: m.Fork, kit: WorkerKit) -> Birth | int:
        launch = msgspec.msgpack.decode(order.packed, type=m.Launch)
        launch = replace(
            launch,
            number=order.worker,
            mark=order.mark,
            parent=os.getpid(),
            kit=kit.descriptors(),
        )
        with tempfile.TemporaryFile() as told:
            told.write(json.dumps(unpack(launch.start)).encode() + b"\n")
            told.write(msgspec.msgpack.encode(launch))
            told.seek(0)
            process = subprocess.Popen(  # noqa: S603 -- this interpreter
                [sys.executable, *launch.flags, "-c", _WORKER],
                stdin=told,
                pass_fds=kit.descriptors(),
                cwd=launch.folder,
                env={"PYTHONHASHSEED": launch.hash_seed, **unpack(launch.environment)},
                process_group=0,
            )
        self._processes.append(process)
        return process.pid
