"""Ends workers whose time is up. It is done from here, for a worker that hangs may be unable to do
anything itself: it holds the interpreter's lock in C code, has blocked all signals, or is stopped.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_braid.control.deadlines import GRACE, Deadlines, Step
from pytest_braid.control.desk import Place
from pytest_braid.control.fleet import Worker, Zygote
from pytest_braid.control.stacks import place
from pytest_braid.model.limits import Limit
from pytest_braid.seam.output import STACKS
from pytest_braid.wire import messages as m

_SIGNALS = {
    Step.STACKS: ((STACKS, False), (signal.SIGCONT, False)),  # which lets it handle the first
    Step.TERM: ((signal.SIGTERM, True),),
    Step.KILL: ((signal.SIGKILL, True),),
}
"""What is sent for each step, and whether the processes that it has started get it too."""


_MARK = "its mark timeout"


class Limits(NamedTuple):
    """``common`` is the limit of each test without one of its own, and of the end of a worker's
    session. ``is_second``: pytest-timeout is there, has the mark to itself, and goes first."""

    common: Limit | None
    is_second: bool
    first_task: int | None = None
    """The first strand whose tests are cancelled in the worker, which goes first there, too."""


class Task(NamedTuple):
    """What takes time: a test, or the end of the session."""

    worker: Worker
    test: int | None


class Watch:
    """The clocks of one run's workers."""

    def __init__(self, zygote: Zygote, limits: Limits, root: Path) -> None:
        self._zygote = zygote
        self._limits = limits
        self._root = root
        self._deadlines: Deadlines[Task] = Deadlines()
        self._limit_of: dict[Task, Limit] = {}
        self._running: dict[Task, str] = {}
        """The tests that run, with their node ids."""
        self._still: set[Task] = set()
        """Those that wait for a lock."""

    def begun(self, worker: Worker, number: int, test: m.Test, at: float, strand: int = 0) -> None:
        """It runs this test from now on."""
        limit = self._limits.common
        if test.timeout is not None:
            limit = Limit(test.timeout, _MARK) if test.timeout else None
        self._running[Task(worker, number)] = test.nodeid
        first = self._limits.first_task
        is_second = self._limits.is_second or (first is not None and strand >= first)
        self._start(Task(worker, number), limit, at, is_second=is_second)

    def extended(self, worker: Worker, number: int, seconds: float) -> None:
        """The test may take so long from now on."""
        task = Task(worker, number)
        if task in self._limit_of:
            self._deadlines.extend(task, time.monotonic() + seconds + GRACE)

    def dismissed(self, worker: Worker) -> None:
        """It was told to end its session, or to make room for a successor."""
        self.gone(worker)
        is_second = self._limits.is_second
        self._start(Task(worker, None), self._limits.common, time.monotonic(), is_second=is_second)

    def ordered(self, host: Worker) -> None:
        """The fixture host was told to set something up, or to tear it down: it has the time of a
        test."""
        self.dismissed(host)

    def _start(self, task: Task, limit: Limit | None, at: float, *, is_second: bool) -> None:
        if limit is not None:
            self._limit_of[task] = limit
            lag = GRACE if is_second else 0.0
            self._deadlines.start(task, at, limit.seconds + lag)

    def asked(self, worker: Worker, at: float) -> None:
        """It waits for an answer, in the middle of a teardown perhaps."""
        for task in self._of(worker):
            self._deadlines.stop(task, at)

    def answered(self, worker: Worker) -> None:
        """It can go on."""
        for task in self._of(worker):
            if task not in self._still:
                self._deadlines.go_on(task, time.monotonic())

    def keep_still(self, waits: Sequence[tuple[Place, Place]], at: float | None = None) -> None:
        """Stop the clocks of tests that wait for a lock, as long as the test runs that has it; not
        of those that wait for each other, or for what no running test will give back."""
        if not waits and not self._still:
            return
        holders = {self._task(*waiting): self._task(*holding) for waiting, holding in waits}
        still = {task for task in holders if task and self._is_bounded(task, holders)}
        at = time.monotonic() if at is None else at
        for task in still - self._still:
            self._deadlines.stop(task, at)
        for task in self._still - still:
            self._deadlines.go_on(task, at)
        self._still = still

    def _task(self, worker: Worker, nodeid: str) -> Task | None:
        """The test of this node id; without one, the only one that runs there."""
        there = [task for task in self._running if task.worker is worker]
        if nodeid:
            there = [task for task in there if self._running[task] == nodeid]
        return there[0] if len(there) == 1 else None

    @staticmethod
    def _is_bounded(task: Task, holders: Mapping[Task | None, Task | None]) -> bool:
        seen, last = {task}, holders[task]
        while last is not None and last in holders and last not in seen:
            seen.add(last)
            last = holders[last]
        return last is not None and last not in seen

    def over(self, worker: Worker, test: int) -> None:
        """A test of it is over."""
        self._running.pop(Task(worker, test), None)
        self._clear(Task(worker, test))

    def gone(self, worker: Worker) -> None:
        for task in [task for task in self._running if task.worker is worker]:
            del self._running[task]
        for task in self._of(worker):
            self._clear(task)

    def _of(self, worker: Worker) -> list[Task]:
        return [task for task in self._limit_of if task.worker is worker]

    def _clear(self, task: Task) -> None:
        if self._limit_of.pop(task, None) is not None:
            self._deadlines.clear(task)

    def wait(self, at: float) -> int | None:
        """Milliseconds until something is due; ``None`` if nothing will be."""
        due = self._deadlines.next()
        return None if due is None else max(0, math.ceil((due - at) * 1000))

    def look(self, at: float, talking: Container[Worker]) -> None:
        """Take the steps that are due."""
        heard = {task for task in self._limit_of if task.worker in talking}
        for task, step in self._deadlines.due(at, heard):
            if task not in self._limit_of:
                continue  # another test of its worker was due in the same moment
            worker = task.worker
            if step is Step.STACKS:
                self._condemn(task)
            for signum, group in _SIGNALS[step]:
                self._zygote.send(m.Signal(worker.number, signum, group))

    def _condemn(self, task: Task) -> None:
        """Other tests of its worker end with it, before their time."""
        for other in self._of(task.worker):
            if other != task:
                self._clear(other)
        task.worker.condemn(self._limit_of[task], task.test)

    def explain(self, worker: Worker) -> str:
        """In words: where it was when its time was up, and what its limit was."""
        where = place(worker.stacks(), self._root)
        return (f"at {where}, " if where else "") + f"after {_limit(worker)}"

    def advise(self, worker: Worker, nodeid: str, why: str, status: int) -> str:
        """The text of a test's report."""
        by = "SIGKILL, for SIGTERM did not end it" if status == -signal.SIGKILL else "SIGTERM"
        seen = (
            "The stacks of its threads are below."
            if worker.stacks()
            else "It has written no stacks: it blocks or ignores signals, or the kernel keeps it."
        )
        return (
            f"Timeout {why}.\n"
            f"'{nodeid}' still ran, so its worker '{worker.name}' was ended ({by}): what fixtures "
            f"had set up there is not torn down. {seen}\n"
            f"{self._way_out(_limit(worker))}"
        )

    def _way_out(self, limit: Limit) -> str:
        if limit.source == _MARK:
            return "If it needs longer, let its mark say so; timeout(0) means no limit."
        if self._limits.is_second:
            return f"If it needs longer, raise the limit of all tests ({limit.source})."
        return (
            "If it needs longer, mark it with @pytest.mark.timeout(SECONDS), 0 for no limit, or "
            f"raise the limit of all tests ({limit.source})."
        )


def _limit(worker: Worker) -> Limit:
    assert worker.overrun is not None
    return worker.overrun.limit
