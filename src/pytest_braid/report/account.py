"""Where the time of a run went: how busy its lanes were, and why they were idle when they were.

A **lane** is what runs one test at a time: a worker, or one of its threads. Everything is summed up
as it comes, so that a run of any length costs the same memory. An example, one worker::

    StartWorker  WorkerReady  Started      Finished       Started      Finished       the end
    |---start----|            |---busy-----|---between----|---busy-----|---end--------|

``between`` counts as waiting for what was told to be waited for meanwhile, if anything was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.model.needs import Needs


class Idle(StrEnum):
    """Why lanes have run nothing."""

    START = "start-up of workers"
    END = "at the end, when nothing was left to begin"
    WAIT = "waiting for what others had"
    FIXTURE = "waiting for fixtures that others set up"
    ASIDE = "beside tests that run alone in their worker"
    FEW = "for lack of tests"
    BETWEEN = "between tests"


class _Worker:
    """What is known of a worker that is there."""

    __slots__ = ("aside", "at", "has_run", "idle", "running", "slot", "waited", "waiting")

    def __init__(self, slot: int, at: float, waited: float) -> None:
        self.slot = slot
        self.at = at
        """Until when it has been looked at."""
        self.running: dict[int, tuple[float, int]] = {}
        """Tests: since when, in which strand."""
        self.idle = self.waiting = self.aside = 0.0
        """Seconds that its lanes have run nothing since its last test has begun: for a reason that
        is found out, because of what they waited for, beside a test that runs alone."""
        self.waited = waited
        """What the clock of waits said then."""
        self.has_run = False


class Account:
    """Reads the events and commands of a run. ``limits`` says how many there are of resources,
    where that is not one."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self.units: Mapping[int, str] = {}
        """Of tests that stay together in one worker: what keeps them so."""
        self._needs: Mapping[int, Needs] = {}
        self._strands = 1
        self._slots: dict[int, float] = {}
        """Of each slot: since when no worker was ready in it; 0 while there is one."""
        self._crashed: set[int] = set()
        """Slots of workers that have died, and have no successor yet."""
        self._workers: dict[int, _Worker] = {}
        self._slot_of: dict[int, int] = {}
        self._waiting: dict[int, str] = {}
        self._waited = self._waits_since = 0.0
        self._begin = self._end = 0.0
        self.nodeids: Sequence[str] = ()
        self.wanted = 0
        """Workers that were asked for."""
        self.threads = self.tasks = 0
        """How many tests each runs at once, in threads and as tasks."""
        self.tests = 0
        """How often a test has come to its end."""
        self.work = 0.0
        """Seconds of all tests, without those that they waited for fixtures."""
        self.cpu = 0.0
        """Seconds that those of them have computed of which that is known, ``measured`` seconds."""
        self.measured = 0.0
        self.longest = (0.0, 0)
        """The longest test: its seconds, and its number."""
        self.idle: defaultdict[Idle, float] = defaultdict(float)
        """Seconds of lanes."""
        self.waits: defaultdict[str, float] = defaultdict(float)
        """Seconds that somebody waited for this, in words."""
        self.chains: defaultdict[str, float] = defaultdict(float)
        """Seconds of tests that could not run beside each other: of a unit, or of a resource."""
        self.in_chain: Counter[str] = Counter()
        """How many tests that were."""

    # --- what is read -------------------------------------------------------------------------

    def event(self, event: e.RunEvent) -> None:
        """Take in what has happened."""
        match event:
            case e.Started():
                self._started(event)
            case e.Finished():
                self._finished(event)
            case e.WorkerReady():
                self._ready(event)
            case e.WorkerDied():
                self._gone(event.worker, event.at)
                self._crashed.add(self._slot_of.get(event.worker, event.worker))
                self._end = max(self._end, event.at)
            case e.WorkerGone() | e.WorkerEnded():
                self._gone(event.worker, event.at)
            case e.RunStarted():
                self.wanted, self._strands = event.workers, event.strands
                self.threads, self.tasks = event.threads, event.tasks
            case e.TestsCollected():
                self.nodeids, self._needs = event.nodeids, event.needs
            case _:
                pass

    def command(self, command: c.Command, at: float) -> None:
        """Take in what the scheduler has decided."""
        match command:
            case c.Assign():
                if self._waiting:
                    for test in command.tests:
                        self._wait_ends(test, at)
            case c.Wait():
                self._wait_ends(command.test, at)
                self._clock_waits(at)
                self._waiting[command.test] = command.what
            case c.StartWorker():
                self._begin = self._begin or at
                self._slot_of[command.worker] = command.slot
                self._take_slot(command.slot, at)
            case _:
                pass

    def _take_slot(self, slot: int, at: float) -> None:
        """The successor of a crashed worker has a slot of its own, but the lanes of that one."""
        if slot not in self._slots:
            self._slots[slot] = self._slots.pop(self._crashed.pop()) if self._crashed else at

    def _wait_ends(self, test: int, at: float) -> None:
        if test in self._waiting:
            self._clock_waits(at)
            del self._waiting[test]

    def _clock_waits(self, at: float) -> None:
        """Let the clock run that runs while anybody waits."""
        if self._waiting:
            passed = max(0.0, at - self._waits_since)
            self._waited += passed
            self.waits[next(iter(self._waiting.values()))] += passed
        self._waits_since = max(self._waits_since, at)

    def _ready(self, event: e.WorkerReady) -> None:
        slot = self._slot_of.setdefault(event.worker, event.worker)
        self._begin = self._begin or event.at
        since = self._slots.get(slot) or event.at
        self.idle[Idle.START] += max(0.0, event.at - since) * self._strands
        self._slots[slot] = 0.0
        self._workers[event.worker] = _Worker(slot, event.at, self._waited)

    def _started(self, event: e.Started) -> None:
        worker = self._workers.get(event.worker)
        if worker is None:  # of a run without workers
            self._begin = self._begin or event.at
            self._slots[event.worker] = 0.0
            worker = self._workers[event.worker] = _Worker(event.worker, event.at, self._waited)
        if self._waiting:  # it may have been told to wait when it was dealt already
            self._wait_ends(event.test, event.at)
        self._look(worker, event.at)
        self._settle(worker, Idle.BETWEEN if worker.has_run else Idle.START)
        worker.running[event.test] = event.at, event.strand
        worker.has_run = True

    def _finished(self, event: e.Finished) -> None:
        worker = self._workers.get(event.worker)
        if worker is None or event.test not in worker.running:
            return
        self._look(worker, event.at)
        since, _ = worker.running.pop(event.test)
        took = event.at - since
        self._end = max(self._end, event.at)
        self.tests += 1
        self.work += took - event.waited
        if event.waited:
            self.idle[Idle.FIXTURE] += event.waited
        if event.cpu is not None:
            self.cpu += min(event.cpu, took) if self._strands > 1 else event.cpu
            self.measured += took
        if took > self.longest[0]:
            self.longest = took, event.test
        if self.units or self._needs:
            self._chain(event.test, took)

    def _chain(self, test: int, took: float) -> None:
        unit = self.units.get(test)
        if unit is not None:
            self.chains[unit] += took
            self.in_chain[unit] += 1
        needs = self._needs.get(test % (len(self.nodeids) or 1))
        for hold in needs.holds if needs is not None else ():
            if not hold.is_shared:
                self.chains[str(hold)] += took * hold.slots / self._limits.get(hold.name, 1)
                self.in_chain[str(hold)] += 1

    def _look(self, worker: _Worker, at: float) -> None:
        """Count the lanes of a worker that ran nothing until now."""
        if self._waiting:
            self._clock_waits(at)
        free = self._strands - len(worker.running)
        if free > 0 and at > worker.at:
            self._count_idle(worker, at - worker.at, free)
        worker.at = max(worker.at, at)
        worker.waited = self._waited

    def _count_idle(self, worker: _Worker, passed: float, free: int) -> None:
        for _, strand in worker.running.values():
            if self._strands > 1 and not strand:
                worker.aside += passed * free
                return
        waited = min(passed, self._waited - worker.waited)
        worker.waiting += waited * free
        worker.idle += (passed - waited) * free

    def _settle(self, worker: _Worker, why: Idle) -> None:
        """Say why a worker was idle since its last test has begun: now it is known."""
        self.idle[why] += worker.idle
        if worker.waiting or worker.aside:
            self.idle[Idle.WAIT] += worker.waiting
            self.idle[Idle.ASIDE] += worker.aside
        worker.idle = worker.waiting = worker.aside = 0.0

    def _gone(self, number: int, at: float) -> None:
        worker = self._workers.pop(number, None)
        if worker is not None:
            self._look(worker, at)
            worker.running.clear()
            self._settle(worker, Idle.END)
            self._slots[worker.slot] = at

    def close(self) -> None:
        """The run is over. Lanes are looked at until the end of its last test, all of them."""
        end = self._end
        for worker in self._workers.values():
            self._look(worker, end)
            self._settle(worker, Idle.END)
        self._workers = {}
        for since in self._slots.values():
            if since:  # negative, if it was looked at for longer than that
                self.idle[Idle.END] += (end - since) * self._strands
        self.idle[Idle.END] = max(0.0, self.idle[Idle.END])
        if self.tests < self.lanes:
            self.idle[Idle.FEW] += self.idle.pop(Idle.END) + self.idle.pop(Idle.BETWEEN, 0.0)

    # --- what is told -------------------------------------------------------------------------

    @property
    def workers(self) -> int:
        return len(self._slots)

    @property
    def strands(self) -> int:
        """Of each worker."""
        return self._strands

    @property
    def lanes(self) -> int:
        return self.workers * self._strands

    @property
    def wall(self) -> float:
        """Seconds from the order of the first worker to the end of the last test."""
        return max(0.0, self._end - self._begin)

    @property
    def busy(self) -> float:
        """The share of the lanes' time in which they ran tests, from 0 to 1."""
        total = self.work + sum(self.idle.values())
        return self.work / total if total else 0.0

    def share(self, why: Idle) -> float:
        """Of the lanes' time."""
        total = self.work + sum(self.idle.values())
        return self.idle[why] / total if total else 0.0

    @property
    def waiting(self) -> float | None:
        """The share of their time in which tests did not compute; ``None`` if nobody knows."""
        return max(0.0, 1 - self.cpu / self.measured) if self.measured else None
