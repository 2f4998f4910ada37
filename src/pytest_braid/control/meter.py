"""What workers and the machine do while tests run: the facts with which ``-n adaptive`` decides."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pytest_braid.model.events import Measured

if TYPE_CHECKING:
    import psutil

_QUICK, _SLOW = 0.1, 0.5
"""Seconds between two measurements: at first, and when nothing has come of many. The kernel counts
CPU time in steps of a hundredth."""

_MANY = 20


class Meter:
    """Measures now and then. ``cores`` is how many of them the run may use."""

    def __init__(self, cores: int) -> None:
        import psutil  # only now: runs with a fixed number of workers need none of it

        self._psutil = psutil
        self._cores = cores
        self._pids: dict[int, psutil.Process] = {}
        self._used: dict[int, float] = {}
        self._machine = (0.0, 0.0)
        self._last = 0.0
        self._count = 0

    @property
    def _interval(self) -> float:
        return _QUICK if self._count < _MANY else _SLOW

    def wait(self, at: float) -> float | None:
        """Seconds until the next measurement; ``None`` if there is nobody to look at."""
        return max(0.0, self._last + self._interval - at) if self._pids else None

    def ready(self, worker: int, pid: int, at: float) -> None:
        """A worker is up."""
        try:
            self._pids[worker] = self._psutil.Process(pid)
        except self._psutil.Error:
            return
        if len(self._pids) == 1:
            self._last, self._machine = at, self._times()
        self._used[worker] = self._cpu(worker)
        self._count = 0

    def look(self, at: float, workers: Collection[int]) -> Measured | None:
        """What has been measured since the last time, if it is time; ``workers`` are alive."""
        for gone in self._pids.keys() - workers:
            del self._pids[gone], self._used[gone]
        elapsed = at - self._last
        if not self._pids or elapsed < self._interval:
            return None
        before, self._machine = self._machine, self._times()
        busy, all_ = (now - then for now, then in zip(self._machine, before, strict=True))
        cpu = sum(self._since_last(worker) for worker in self._pids)
        memory = self._psutil.virtual_memory()
        self._last = at
        self._count += 1
        return Measured(
            at=at,
            cpu=cpu / elapsed,
            busy=self._cores * (busy / all_ if all_ > 0 else 1.0),
            cores=self._cores,
            free=memory.available,
            memory=memory.total,
            each=max(self._own_memory(self._pids), default=0),
        )

    def _since_last(self, worker: int) -> float:
        used = self._cpu(worker)
        before, self._used[worker] = self._used[worker], used
        return max(0.0, used - before)

    def _cpu(self, worker: int) -> float:
        try:
            times = self._pids[worker].cpu_times()
        except self._psutil.Error:
            return self._used.get(worker, 0.0)
        return float(times.user + times.system)

    def _own_memory(self, workers: Iterable[int]) -> Iterable[int]:
        """Bytes of each that are not shared with the process that it was forked from."""
        for worker in workers:
            try:
                memory = self._pids[worker].memory_info()
            except self._psutil.Error:
                continue
            yield memory.rss - getattr(memory, "shared", 0)

    def _times(self) -> tuple[float, float]:
        """Seconds for which the CPUs that this process may use have been busy, and in all."""
        busy = all_ = 0.0
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        for number, times in enumerate(self._psutil.cpu_times(percpu=True)):
            if allowed is not None and number not in allowed:
                continue
            idle = times.idle + getattr(times, "iowait", 0.0)
            total = sum(times[:8])  # Linux counts guests twice, behind these
            busy, all_ = busy + total - idle, all_ + total
        return busy, all_
