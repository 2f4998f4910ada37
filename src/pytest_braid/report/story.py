"""Which test ran where and when, and what the workers did meanwhile: what a timeline shows.

It remembers every test of a run, so it is there only where somebody wants to see one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.report.strands import Strands
from pytest_braid.report.waits import Waits

_WORST = {"passed": 0, "skipped": 1, "rerun": 2, "failed": 3}
"""Outcomes of a test's phases; others, of a plugin, count as passed."""


class Phase(msgspec.Struct):
    """``setup``, ``call`` or ``teardown`` of a test; ``duration`` in seconds."""

    when: str
    outcome: str
    duration: float


class Made(msgspec.Struct):
    """A fixture that tests share, set up by one of them; seconds of the monotonic clock."""

    fixture: str
    worker: int
    strand: int
    test: int
    start: float
    end: float

    @property
    def name(self) -> str:
        """Without its place."""
        return self.fixture.rpartition("::")[2]


class Dealt(msgspec.Struct):
    """When a test was given to a worker, together with how many ``others``, and upon what."""

    at: float
    worker: int
    others: int
    upon: e.RunEvent | None


class Ran(msgspec.Struct):
    """One time that a test ran, in ``strand`` of a worker. ``end`` is ``None`` while it runs."""

    test: int
    worker: int
    strand: int
    start: float
    end: float | None = None
    phases: list[Phase] = msgspec.field(default_factory=list)
    ended_by: str = ""
    """What ended it, if not itself: ``crashed``, ``timed out``, ``cut``."""
    dealt: Dealt | None = None
    waited: float = 0.0
    """Seconds for fixtures that others set up."""

    @property
    def outcome(self) -> str:
        """``passed``, ``failed``, ``error`` (of the setup or the teardown), ``skipped``, or what
        ended it; ``running`` if nothing has yet."""
        if self.ended_by:
            return self.ended_by
        if self.end is None:
            return "running"
        worst = max(self.phases, key=lambda it: _WORST.get(it.outcome, 0), default=None)
        if worst is None or worst.outcome not in _WORST:
            return "passed"
        is_error = worst.outcome == "failed" and worst.when in ("setup", "teardown")
        return "error" if is_error else worst.outcome


class Life(msgspec.Struct):
    """A worker's, from the order to make it to its end. ``end`` says how that was: ``ended``,
    ``retired``, ``crashed``, ``killed`` (its test took too long)."""

    worker: int
    slot: int
    ordered: float
    ready: float | None = None
    over: float | None = None
    end: str = ""

    @property
    def name(self) -> str:
        return f"gw{self.slot}"


class Story:
    """Reads the events and the commands of a run, in their order."""

    def __init__(self) -> None:
        self.run: e.RunStarted | None = None
        self.nodeids: Sequence[str] = ()
        self.ran: list[Ran] = []
        """In the order in which they began."""
        self.made: list[Made] = []
        self.lives: dict[int, Life] = {}
        self.stops: list[tuple[float, str]] = []
        """When it was asked that nothing more begins, and why."""
        self.waits = Waits((), {})
        self.strands: Strands | None = None
        """Where tests ran at once in a worker."""
        self.first = self.last = 0.0
        """When it began, and the latest that is known of it; seconds of the monotonic clock."""
        self.is_whole = False
        """Whether the run's end is known."""
        self.collected: float | None = None
        self._running: dict[tuple[int, int], Ran] = {}
        self._dealt: dict[int, Dealt] = {}
        self._of: defaultdict[int, list[Ran]] = defaultdict(list)
        self._made_for: defaultdict[tuple[int, int], list[Made]] = defaultdict(list)
        self._latest: e.RunEvent | None = None

    # --- reading ------------------------------------------------------------------------------

    def event(self, event: e.RunEvent) -> None:
        """Take in what has happened."""
        self.first = self.first or event.at
        for reader in self.of_tests:
            reader.event(event)
        self.last = max(self.last, event.at)
        self._latest = event
        match event:
            case e.Started():
                self._started(event)
            case e.Reported():
                ran = self._running.get((event.worker, event.test))
                if ran is not None:
                    ran.phases.append(Phase(event.when, event.outcome, event.duration))
            case e.FixtureSetUp():
                self._made(event)
            case e.Finished():
                ran = self._running.get((event.worker, event.test))
                if ran is not None:
                    ran.waited = event.waited
                self._end(event.worker, event.test, event.at, "")
            case _:
                self._rare_event(event)

    def _rare_event(self, event: e.RunEvent) -> None:
        match event:
            case e.RunStarted():
                self.run = event
            case e.TestsCollected():
                self.nodeids, self.collected = event.nodeids, event.at
                self.waits = Waits(event.nodeids, event.needs)
                if event.asides:
                    run = self.run
                    threads, tasks = (run.threads, run.tasks) if run is not None else (0, 0)
                    self.strands = Strands(event.asides, threads, tasks)
            case e.WorkerReady():
                self._life(event.worker, event.at).ready = event.at
            case e.WorkerDied():
                self._died(event)
            case e.WorkerEnded():
                self._over(event.worker, event.at, "ended")
            case e.WorkerGone():
                self._over(event.worker, event.at, "retired")
            case e.StopRequested():
                self.stops.append((event.at, event.reason))
            case e.RunEnded():
                self.is_whole = True
            case _:
                pass

    def command(self, command: c.Command, at: float) -> None:
        """Take in what the scheduler has decided."""
        self.waits.command(command, at)
        match command:
            case c.StartWorker():
                self.lives[command.worker] = Life(command.worker, command.slot, at)
            case c.Assign():
                others = len(command.tests) - 1
                for test in command.tests:
                    self._dealt[test] = Dealt(at, command.worker, others, self._latest)
            case _:
                pass

    def _life(self, worker: int, at: float) -> Life:
        return self.lives.setdefault(worker, Life(worker, worker, at))

    def _started(self, event: e.Started) -> None:
        self._life(event.worker, event.at)
        ran = Ran(event.test, event.worker, event.strand, event.at)
        ran.dealt = self._dealt.get(event.test)
        self.ran.append(ran)
        self._of[event.test].append(ran)
        self._running[event.worker, event.test] = ran

    def _made(self, event: e.FixtureSetUp) -> None:
        ran = self._running.get((event.worker, event.test))
        strand = 0 if ran is None else ran.strand
        place, start = (event.worker, strand, event.test), event.at - event.seconds
        made = Made(event.fixture, *place, start, event.at)
        self.made.append(made)
        self._made_for[event.worker, event.test].append(made)

    def _end(self, worker: int, test: int, at: float, by: str) -> None:
        ran = self._running.pop((worker, test), None)
        if ran is not None:
            ran.end, ran.ended_by = at, by

    def _died(self, event: e.WorkerDied) -> None:
        """Of what ran in it one test has ended it, if only one ran; the others are cut."""
        by = "crashed" if event.is_crash else "timed out"
        for worker, test in [key for key in self._running if key[0] == event.worker]:
            self._end(worker, test, event.at, by if test == event.running else "cut")
        self._over(event.worker, event.at, "crashed" if event.is_crash else "killed")

    def _over(self, worker: int, at: float, how: str) -> None:
        life = self._life(worker, at)
        if life.over is None:
            life.over, life.end = at, how

    # --- telling ------------------------------------------------------------------------------

    def nodeid(self, test: int) -> str:
        """In mode ``each`` tests are counted on through the copies."""
        return self.nodeids[test % len(self.nodeids)] if self.nodeids else f"test {test}"

    def worker(self, number: int) -> str:
        """The name of a worker, with its number where the slot has had another one before."""
        life = self.lives.get(number)
        if life is None or life.slot == number:
            return f"gw{number}"
        return f"{life.name} (process {number})"

    @property
    def of_tests(self) -> list[Strands | Waits]:
        """Readers of it that know of single tests."""
        return [*filter(None, [self.strands]), self.waits]

    def strand(self, number: int) -> str:
        """``thread 3``, ``task 2``: tasks are counted on behind threads."""
        threads = self.run.threads if self.run is not None and self.run.tasks else number
        return f"thread {number}" if number <= threads else f"task {number - threads}"

    def lines(self, test: int) -> list[str]:
        """Where a test ran, when, and how it came there."""
        return [line for ran in self._of[test] for line in self._lines(ran)]

    def _lines(self, ran: Ran) -> list[str]:
        where = self.worker(ran.worker) + (f", {self.strand(ran.strand)}" if ran.strand else "")
        since = ran.start - self.first
        if ran.end is None:
            took = f"and was still running {self.last - ran.start:.2f} s later"
        else:
            took = f"for {ran.end - ran.start:.2f} s: {ran.outcome}"
        phases = ", ".join(f"{phase.when} {phase.duration:.2f} s" for phase in ran.phases)
        lines = [f"ran in {where}, {since:.2f} s after the run began, {took}"]
        if phases:
            lines.append(phases)
        for made in self._made_for[ran.worker, ran.test]:
            seconds = f"{made.end - made.start:.2f} s"
            lines.append(f"set up fixture {made.name} for all that need it there, in {seconds}")
        if ran.waited >= _LONG:
            lines.append(f"waited {ran.waited:.2f} s for fixtures that others set up")
        if ran.dealt is not None:
            before = ran.start - ran.dealt.at
            lay = f"; it lay in the queue for {before:.2f} s" if before >= _LONG else ""
            lines.append(f"there because {self.why(ran)}{lay}")
        return lines

    def why(self, ran: Ran) -> str:
        """Upon what it was given to its worker; empty if nobody has given it."""
        dealt = ran.dealt
        if dealt is None:
            return ""
        number = f"{dealt.others} other" + ("" if dealt.others == 1 else "s")
        with_others = f", with {number}" if dealt.others else ""
        return self._upon(dealt) + with_others

    def _upon(self, dealt: Dealt) -> str:
        name, upon = self.worker(dealt.worker), dealt.upon
        match upon:
            case e.Started() if upon.worker == dealt.worker:
                return f"the queue of {name} was getting short and this was next in line"
            case e.Asked() if upon.worker == dealt.worker:
                return f"{name} had nothing left and asked when this was next in line"
            case e.Asked():
                asker = self.worker(upon.worker)
                return f"{name} waited, and this was next in line when {asker} asked"
            case e.Finished():
                gave = f"{self.nodeid(upon.test)} was over, and left room for it"
                return f"{name} was free when {gave}"
            case e.Revoked():
                return (
                    f"it was taken back out of the queue of {self.worker(upon.worker)} for {name}"
                )
            case e.WorkerDied():
                return f"{self.worker(upon.worker)} had died, and left it to {name}"
            case e.WorkerGone():
                return f"{self.worker(upon.worker)} had made room for {name}"
            case _:
                return f"it was dealt to {name} at the start"


_LONG = 0.005
"""Seconds in a queue that are worth telling."""
