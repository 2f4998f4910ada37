"""The account of a run: every test ends exactly once, or it is known why not."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

from pytest_braid.control.fleet import Duty, Worker
from pytest_braid.control.replay import Replay
from pytest_braid.schedule.holders import Loss

_IDLE_DEATHS = {
    Duty.TESTS: "while it ran no test",
    Duty.FINISHING: "while it ended its session (fixtures of session scope, pytest_sessionfinish)",
    Duty.RETIRING: "after its last test, while it made room for its successor (callbacks "
    "of config.add_cleanup, hooks around pytest_runtestloop)",
    Duty.RETIRED: "after its last test, while its process ended (callbacks of atexit)",
}
"""What a worker did that died without a test."""


_EARLY_DEATH = "before it would take tests (imports, collection)"


class Cut(NamedTuple):
    """A test that was interrupted after ``age`` seconds."""

    worker: str
    test: int
    age: float


class Suspicion(NamedTuple):
    """Tests that ran at the same time when their worker died, one of which may have ended it."""

    worker: str
    tests: tuple[int, ...]
    why: str


class Ledger:
    """Keeps the account, and reports the tests that could not do so themselves."""

    def __init__(self, replay: Replay, tests: int) -> None:
        self._replay = replay
        self._tests = tests
        self._ended: set[int] = set()
        self.is_excused = False
        """Whether there is a reason for tests that have no outcome."""
        self.twice: list[int] = []
        """Tests that ended more than once, or without having begun: never, or braid is broken."""
        self.deaths: list[str] = []
        """How workers died that had not begun a test, which could tell of it."""
        self.losses: list[Loss] = []
        """Values of fixtures that nobody has cleaned up."""
        self.suspicions: list[Suspicion] = []
        self.crashed: set[int] = set()
        """Tests that have ended their worker."""
        self.cut: list[Cut] = []
        """Tests that an interrupt from outside of them has cut short."""

    def count(self, test: int) -> None:
        """Take note that a test has ended."""
        if test in self._ended:
            self.twice.append(test)
        self._ended.add(test)

    def unfinished(self) -> list[int]:
        """Tests without an outcome although nobody asked to stop."""
        if self.is_excused:
            return []
        return [test for test in range(self._tests) if test not in self._ended]

    def running(self, worker: Worker) -> list[int]:
        """The tests that ran in a worker when it died, or the one whose time was up."""
        # What it claims may have ended, if it died before the next began.
        overrun = worker.overrun
        tests = worker.claimed() if overrun is None else [overrun.test]
        running = [test for test in tests if test is not None and test not in self._ended]
        if len(running) == 1:
            return running
        return [test for test in running if test in worker.underway]  # others may not have begun

    def cut_short(self, worker: Worker) -> bool:
        """Remember the tests that run in a worker, if any: they will have no outcome."""
        now, known = time.monotonic(), {cut.test for cut in self.cut}
        running = [one for one in worker.underway.values() if one.test not in self._ended]
        for one in running:
            if one.test not in known:
                self.cut.append(Cut(worker.name, one.test, now - one.since))
        return bool(running)

    def report_crash(
        self, worker: Worker, running: int | None, why: str, printed: str = ""
    ) -> bool:
        """A worker's process has ended, and nobody had told it to. ``printed`` is more of what it
        may have said. Returns whether the test is to run again."""
        if running is None:
            self._report_death(worker, why, printed)
            return False
        self.crashed.add(running)
        if running not in worker.underway:
            self._replay.begun(running)
        runs_again = self._replay.crashed(
            worker.node, running, why, worker.last_words(), _when(worker, running)
        )
        self._replay.done(running)
        if not runs_again:
            self.count(running)
        return runs_again

    def report_timeout(self, worker: Worker, running: int, text: str) -> None:
        """A worker was killed, for its test had run for too long."""
        self._replay.timed_out(
            worker.node,
            running,
            text,
            worker.last_words(),
            when=_when(worker, running),
            duration=time.monotonic() - worker.underway[running].since,
        )
        self._replay.done(running)
        self.count(running)

    def note_suspects(self, worker: Worker, tests: list[int], why: str) -> None:
        """Several tests ran in a worker that has died: each is to run again, by itself."""
        self.suspicions.append(Suspicion(worker.name, tuple(tests), why))
        for test in tests:
            self._replay.done(test)

    def _report_death(self, worker: Worker, why: str, printed: str) -> None:
        """It ran no test when it died. What stood of its fixtures has not been torn down."""
        did = "crashed" if worker.overrun is None else "ran out of time"
        doing = _IDLE_DEATHS[worker.duty] if worker.is_ready else _EARLY_DEATH
        text = f"worker '{worker.name}' {did} {doing}: {why}"
        if worker.last_test is None:
            words = (f"--- {title} ---\n{words}" for title, words in worker.last_words())
            self.deaths.append("\n".join(filter(None, [text, *words, printed.rstrip()])))
        else:
            self._replay.crashed_after(worker.node, worker.last_test, text, worker.last_words())


def _when(worker: Worker, test: int) -> Literal["call", "teardown"]:
    """Where to say that a test ended its process. It has failed of it, whether it had passed before
    or had not come to that; of one that had failed it is an error of the teardown."""
    underway = worker.underway.get(test)
    return "teardown" if underway is not None and underway.outcome == "failed" else "call"
