"""Strands without workers: tests in threads of the one process that pytest runs in.

So ``-n 0 --threads N`` runs, and what a seed's own marks start. Nothing is forked and nothing sent;
whoever ends the process ends the run, as it does without braid.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.compat.asyncio_cooperative import MARK, is_cooperative, max_tasks
from pytest_braid.compat.threaded import THREADS, has_generated, is_concurrent
from pytest_braid.control.audience import Audience
from pytest_braid.control.log import EventLog
from pytest_braid.control.tails import write_explanation, write_strands, write_timelines
from pytest_braid.model import events as e
from pytest_braid.model.limits import Limit
from pytest_braid.options import is_watched, limit_of, tasks_of, threads_of
from pytest_braid.report.story import Story
from pytest_braid.report.strands import Strands
from pytest_braid.seam import output
from pytest_braid.wire.queue import FINISH
from pytest_braid.worker.aside import reason_for
from pytest_braid.worker.asyncs import only_marked
from pytest_braid.worker.speech import Judge
from pytest_braid.worker.threads import ThreadStrands


class Local:
    """Runs the session's tests in up to ``threads`` threads, and the async ones as up to ``tasks``
    tasks. Those for which ``aside`` has a reason run by themselves, in the main thread."""

    def __init__(
        self,
        threads: int,
        tasks: int = 0,
        log: Path | None = None,
        aside: Callable[[pytest.Item], str | None] | None = None,
        timeline: Sequence[Path] = (),
    ) -> None:
        self._threads = threads
        self._tasks = tasks
        self._aside = aside or reason_for(threads, tasks)
        self._audience = Audience()
        if log is not None:
            self._audience.write(EventLog(log))
        self._timeline = timeline
        self._story = Story()
        if timeline:
            self._audience.join(self._story, hears_reports=True)
        self._strands = Strands((), threads, tasks)
        self._nodeids: tuple[str, ...] = ()
        self._numbers: dict[str, int] = {}

    def pytest_report_header(self) -> str:
        if not self._tasks:
            return f"braid: {self._threads} tests at once, in threads of this process"
        beside = f", beside {self._threads} in threads" if self._threads else ""
        return f"braid: {self._tasks} async tests at once, as tasks in this process{beside}"

    def run_tests(self, session: pytest.Session) -> bool | None:
        """In the place of pytest's own loop; ``None`` if that is to say why there is none."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest says why, and runs nothing
        if not self._tasks and any(map(is_cooperative, session.items)):
            self._tasks = max_tasks(session.config)
            self._aside = reason_for(self._threads, self._tasks)
            session.config.stash[only_marked] = True
        if session.items:
            self._run(session)
        return True

    def _run(self, session: pytest.Session) -> None:
        asides = [*map(self._aside, session.items)]
        self._strands = Strands(asides, self._threads, self._tasks)
        self._audience.join(self._strands)
        self._record_start(session, tuple(asides))
        with closing(Items(len(session.items))) as queue:
            strands = make_strands(
                session,
                queue,
                asides,
                self._record,
                threads=self._threads,
                tasks=self._tasks,
                timeout=limit_of(session.config),
            )
            for item, nextitem in strands.tests():
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _record_start(self, session: pytest.Session, asides: tuple[str | None, ...]) -> None:
        at = time.monotonic()
        started = e.RunStarted(
            run="",
            workers=0,
            mode="no",
            wall=time.time(),
            threads=self._threads,
            tasks=self._tasks,
            at=at,
        )
        self._record(started)
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
        write_strands(terminalreporter, self._strands, self._nodeids)

    def pytest_unconfigure(self) -> None:
        self._record(e.RunEnded(unfinished=(), at=time.monotonic()))
        self._audience.close()
        write_timelines(self._story, self._timeline)


def make_strands(
    session: pytest.Session,
    queue: Any,
    asides: list[str | None],
    record: Callable[[e.RunEvent], None],
    *,
    threads: int,
    tasks: int = 0,
    timeout: Limit | None = None,
) -> ThreadStrands:
    """Strands for the items of a session that has no worker."""
    claim: Any = Unclaimed()
    limit: Any = Unlimited()
    teller: Any = Teller(record)
    session.config.pluginmanager.register(teller)
    return ThreadStrands(
        session,
        queue,
        claim,
        teller,
        limit,
        threads=threads,
        tasks=tasks,
        asides=asides,
        timeout=timeout,
        nests=has_generated(),
    )


class Items:
    """Stands in the place of a worker's queue: all items, in their order."""

    def __init__(self, count: int) -> None:
        self._next = iter(range(count))
        self._aside: deque[int] = deque()
        self.descriptor, other = os.pipe()  # readable from now on: it is at its end
        os.close(other)

    def read(self) -> int:
        return next(self._next, FINISH)

    def take(self, ask: Callable[[], None]) -> int:  # noqa: ARG002 -- nobody is to be asked
        return self.read()

    def wait(self) -> int:
        return FINISH

    def put_aside(self, test: int) -> None:
        self._aside.append(test)

    def take_aside(self) -> int | None:
        return self._aside.popleft() if self._aside else None

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

    def say_apart(self, message: object) -> None: ...

    def flush(self) -> None: ...


class Teller:
    """Stands in the place of a worker's reporter: the session's own hooks report."""

    shows = True
    judge: Judge | None = None
    """Who may fail a test before that is reported."""

    def __init__(self, record: Callable[[e.RunEvent], None]) -> None:
        self.speech = Silent()
        self.clock = time.monotonic
        self._record = record
        self._test = 0

    def begin(self, test: int, strand: int = 0) -> None:
        self.resume(test)
        self.announce(test, strand)

    def announce(self, test: int, strand: int) -> None:
        self._record(e.Started(worker=0, test=test, strand=strand, at=self.clock()))

    def blocked(self, test: int, seconds: float, stack: tuple[str, ...]) -> None:
        at = self.clock()
        self._record(e.LoopBlocked(worker=0, test=test, seconds=seconds, stack=stack, at=at))

    def resume(self, test: int) -> None:
        self._test = test

    def done(self, cpu: float | None = None, waited: float = 0.0) -> None:
        over = e.Finished(worker=0, test=self._test, cpu=cpu, waited=waited, at=self.clock())
        self._record(over)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        insist = None if self.judge is None else self.judge(call)
        report = yield
        if insist is not None:
            insist(report)
        return report


def run_marked(session: pytest.Session) -> bool | None:
    """What marks of seeds ask for, without any option: tests of pytest-threaded run at once in
    threads, those of pytest-asyncio-cooperative as tasks. All other tests run one after another, as
    ever."""
    config = session.config
    is_alone = is_watched(config.option)
    threads = 0
    if not is_alone and any(map(is_concurrent, session.items)):
        threads = threads_of(config) or THREADS
    tasks = 0
    if any(map(is_cooperative, session.items)) and not config.option.collectonly:
        tasks = 1 if is_alone else tasks_of(config) or max_tasks(config)
        config.stash[only_marked] = True
    if not threads + tasks:
        return None
    if threads:
        output.say(config, f"braid: tests marked 'concurrent' run in threads, {threads} at once")
    if tasks:
        output.say(config, f"braid: tests marked '{MARK}' run as tasks, {tasks} at once")
    find = reason_for(threads, tasks)

    def why(item: pytest.Item) -> str | None:
        if is_alone:
            return "somebody looks at it"
        return find(item) if is_concurrent(item) or is_cooperative(item) else "no mark"

    log = config.option.braid_log
    local = Local(threads, tasks, Path(log) if log else None, why)
    config.pluginmanager.register(local, "braid-local")
    return local.run_tests(session)
