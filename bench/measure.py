"""Run one command and say what its whole process tree cost.

CPU: the benchmark adopts orphans (a Linux "child subreaper"), so whatever the command starts ends
up being waited for either by its own parent or here. ``wait4`` reports a process together with the
children that process has waited for; so adding up what is reaped *here* counts everything once.
What no accounting of the kernel shows: a process whose parent ignores SIGCHLD.

Memory: proportional set size, which shares a page among the processes that map it. Sampling costs
CPU of its own, so a run is measured for time or for memory, not for both.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from resource import struct_rusage

import psutil

RUN_LIMIT = 120.0
"""Seconds after which a command is killed."""
ORPHAN_GRACE = 5.0
"""Seconds that a command's processes may outlive it."""
SAMPLE_INTERVAL = 0.05
"""Seconds between two samples of memory."""

_PR_SET_CHILD_SUBREAPER = 36
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


class BenchError(Exception):
    """The benchmark cannot go on; the message is for its user."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a command cost."""

    wall: float
    """Seconds from its start to its own end."""
    cpu: float
    """Seconds, user and system, of all processes."""
    others_cpu: float
    """Seconds of CPU that went elsewhere meanwhile: other processes, other virtual machines."""
    peak_pss: int | None
    """Bytes of all processes at the worst sample; None if memory was not sampled."""
    exit_code: int


def measure(
    command: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    output: Path,
    memory: bool = False,
) -> Usage:
    """Run ``command`` to its end, and to the end of every process it has started.

    The calling process must have no other children: they would be counted, and reaped.

    :param output: file for standard output and error.
    :raises BenchError: if it took too long, or left a process behind.
    """
    _adopt_orphans()
    sampler = _peak_pss() if memory else nullcontext(None)
    with output.open("wb") as sink, sampler as peak:
        busy, start = _machine_cpu(), time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        cpu = wall = 0.0
        deadline = _Deadline(RUN_LIMIT, "had not ended")
        try:
            for pid, status, rusage in _reaped():
                cpu += rusage.ru_utime + rusage.ru_stime
                if pid == process.pid:
                    wall = time.perf_counter() - start
                    # Reaped behind the back of Popen, which would complain.
                    process.returncode = os.waitstatus_to_exitcode(status)
                    deadline.move(ORPHAN_GRACE, "left processes behind")
        finally:
            deadline.cancel()
            kill_children()
    if deadline.missed:
        raise BenchError(f"{' '.join(command)}\n{deadline.missed}")
    others = max(0.0, _machine_cpu() - busy - cpu)
    return Usage(wall, cpu, others, peak.bytes if peak else None, process.returncode)


def kill_children() -> list[str]:
    """Kill every process below this one; say which they were."""
    children = psutil.Process().children(recursive=True)
    names = [str(process) for process in children]
    for process in children:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return names


def _adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _machine_cpu() -> float:
    """Seconds that the cores of this machine have been busy so far; by the clock tick."""
    times = psutil.cpu_times()
    return sum((times.user, times.nice, times.system, times.irq, times.softirq, times.steal))


def _reaped() -> Iterator[tuple[int, int, struct_rusage]]:
    """Wait for children, own and adopted, until there are none."""
    while True:
        try:
            yield os.wait4(-1, 0)
        except ChildProcessError:
            return


class _Deadline:
    """Kills the children of this process when its time comes; that ends the wait for them."""

    def __init__(self, seconds: float, fault: str) -> None:
        self.missed = ""
        """What was wrong, and what was killed; empty if all went well."""
        self._start(seconds, fault)

    def move(self, seconds: float, fault: str) -> None:
        self.cancel()
        self._start(seconds, fault)

    def cancel(self) -> None:
        self._timer.cancel()

    def _start(self, seconds: float, fault: str) -> None:
        self._timer = threading.Timer(seconds, self._miss, [f"{fault} after {seconds:g} s"])
        self._timer.daemon = True
        self._timer.start()

    def _miss(self, fault: str) -> None:
        self.missed = f"{fault}; killed: {', '.join(kill_children())}"


@dataclass(slots=True)
class _Peak:
    bytes: int = 0


@contextmanager
def _peak_pss() -> Iterator[_Peak]:
    """Sample the memory of all processes below this one while the block runs."""
    peak, over = _Peak(), threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_INTERVAL):
            peak.bytes = max(peak.bytes, _tree_pss())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _tree_pss() -> int:
    return sum(_pss(process.pid) for process in psutil.Process().children(recursive=True))


def _pss(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except OSError:
        return 0  # it has just ended
    return parse_pss(rollup)


def parse_pss(rollup: bytes) -> int:
    """Bytes of proportional set size in the text of a ``smaps_rollup``; 0 for a zombie's."""
    found = _PSS.search(rollup)
    return int(found[1]) * 1024 if found else 0
