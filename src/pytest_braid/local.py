"""Strands without workers: tests in threads of the one process that pytest runs in.

So ``-n 0 --threads N`` runs, and what a seed's own marks start. Nothing is forked and nothing sent;
whoever ends the process ends the run, as it does without braid.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.compat.threaded import THREADS, is_concurrent
from pytest_braid.control.audience import Audience
from pytest_braid.control.log import EventLog
from pytest_braid.control.tails import write_explanation, write_strands, write_timelines
from pytest_braid.model import events as e
from pytest_braid.options import is_watched, threads_of
from pytest_braid.report.story import Story
from pytest_braid.report.strands import Strands
from pytest_braid.seam import output
from pytest_braid.wire.queue import FINISH
from pytest_braid.worker.aside import reason
from pytest_braid.worker.threads import ThreadStrands


class Local:
    """Runs the session's tests in up to ``threads`` threads. Those for which ``aside`` has a reason
    run by themselves, in the main thread."""

    def __init__(
        self,
        threads: int,
        log: Path | None = None,
        aside: Callable[[pytest.Item], str | None] = reason,
        timeline: Sequence[Path] = (),
    ) -> None:
        self._threads = threads
        self._aside = aside
        self._audience = Audience()
        if log is not None:
            self._audience.write(EventLog(log))
        self._timeline = timeline
        self._story = Story()
        if timeline:
            self._audience.join(self._story, hears_reports=True)
        self._strands = Strands(())
        self._nodeids: tuple[str, ...] = ()
        self._numbers: dict[str, int] = {}

    def pytest_report_header(self) -> str:
        return f"braid: {self._threads} tests at once, in threads of this process"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest says why, and runs nothing
        if session.items:
            self._run(session)
        return True

    def _run(self, session: pytest.Session) -> None:
        asides = [*map(self._aside, session.items)]
        self._strands = Strands(asides)
        self._audience.join(self._strands)
        self._record_start(session, tuple(asides))
        with closing(Items(len(session.items))) as queue:
            strands = make_strands(session, queue, self._threads, asides, self._record)
            for item, nextitem in strands.tests():
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _record_start(self, session: pytest.Session, asides: tuple[str | None, ...]) -> None:
        at = time.monotonic()
        self._record(
            e.RunStarted(
                run="", workers=0, mode="no", wall=time.time(), strands=self._threads, at=at
            )
        )
        self._nodeids = tuple(item.nodeid for item in session.items)
        self._numbers = {nodeid: number for number, nodeid in enumerate(self._nodeids)}
        self._record(e.TestsCollected(nodeids=self._nodeids, asides=asides, at=at))

    def _record(self, event: e.RunEvent) -> None:
        self._audience.event(event)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        number = self._numbers.get(report.nodeid)
        if self._audience.hears_reports and number is not None:
            self._record(
                e.Reported(
                    worker=0,
                    test=number,
                    when=str(report.when),
                    outcome=report.outcome,
                    duration=report.duration,
                    at=time.monotonic(),
                )
            )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        chosen = terminalreporter.config.option.braid_explain
        if chosen is not None:
            write_explanation(terminalreporter, self._nodeids, chosen, [self._strands])
        write_strands(terminalreporter, self._strands)

    def pytest_unconfigure(self) -> None:
        self._record(e.RunEnded(unfinished=(), at=time.monotonic()))
        self._audience.close()
        write_timelines(self._story, self._timeline)


def make_strands(
    session: pytest.Session,
    queue: Any,
    threads: int,
    asides: list[str | None],
    record: Callable[[e.RunEvent], None],
) -> ThreadStrands:
    """Strands for the items of a session that has no worker."""
    claim: Any = Unclaimed()
    limit: Any = Unlimited()
    teller: Any = Teller(record)
    return ThreadStrands(session, queue, claim, teller, limit, strands=threads, asides=asides)


class Items:
    """Stands in the place of a worker's queue: all items, in their order."""

    def __init__(self, count: int) -> None:
        self._next = iter(range(count))
        self.descriptor = os.open(os.devnull, os.O_RDONLY)

    def read(self) -> int:
        return next(self._next, FINISH)

    def take(self, ask: Callable[[], None]) -> int:  # noqa: ARG002 -- nobody is to be asked
        return self.read()

    def wait(self) -> int:
        return FINISH

    def close(self) -> None:
        os.close(self.descriptor)


class Unclaimed:
    """Stands in the place of a worker's claim, at which nobody looks."""

    def set(self, test: int, strand: int = 0, thread: int = 0) -> None: ...

    def is_forbidden(self) -> bool:
        return False


class Unlimited:
    """Stands in the place of a worker's limit: the session counts all failures itself."""

    def note(self, item: pytest.Item) -> None: ...

    def is_doubtful(self) -> bool:
        return False

    def is_reached(self) -> bool:
        return False


class Silent:
    """Stands in the place of a worker's speech."""

    def say(self, message: object) -> None: ...

    def flush(self) -> None: ...


class Teller:
    """Stands in the place of a worker's reporter: the session's own hooks report."""

    def __init__(self, record: Callable[[e.RunEvent], None]) -> None:
        self.speech = Silent()
        self.clock = time.monotonic
        self._record = record
        self._test = 0

    def begin(self, test: int) -> None:
        self.resume(test)
        self.announce(test)

    def announce(self, test: int, strand: int = 0) -> None:
        self._record(e.Started(worker=0, test=test, strand=strand, at=self.clock()))

    def resume(self, test: int) -> None:
        self._test = test

    def done(self, cpu: float | None = None, waited: float = 0.0) -> None:
        over = e.Finished(worker=0, test=self._test, cpu=cpu, waited=waited, at=self.clock())
        self._record(over)


def run_concurrent(session: pytest.Session) -> bool | None:
    """What ``generate_tests`` of pytest-threaded asks for: its tests run at once, without any
    option. All other tests run one after another, as ever."""
    if is_watched(session.config.option) or not any(map(is_concurrent, session.items)):
        return None
    threads = threads_of(session.config) or THREADS
    output.say(
        session.config, f"braid: tests marked 'concurrent' run in threads, {threads} at once"
    )
    local = Local(threads, aside=lambda item: reason(item) if is_concurrent(item) else "no mark")
    return local.pytest_runtestloop(session)
