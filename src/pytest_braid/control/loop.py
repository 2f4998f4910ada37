"""The controller's loop: waits for what workers and zygote say, tells the scheduler, does what it
decides. It decides nothing itself."""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, assert_never

import pytest

from pytest_braid.control.fleet import Worker, Zygote, describe_end
from pytest_braid.control.log import EventLog
from pytest_braid.control.node import Node
from pytest_braid.control.replay import Replay
from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.schedule.scheduler import Scheduler
from pytest_braid.wire import messages as m
from pytest_braid.wire.queue import END, FINISH
from pytest_braid.wire.values import pack, unpack

_NAP = 0.005
"""Seconds to let messages gather after some have come, so that the workers, who have the same
cores, are not interrupted for each."""

_ENOUGH = 8
"""Tests in the queue of every worker with which the controller can nap: nobody waits for it. The
scheduler keeps ten times the length of a nap in the queues of workers with short tests."""


_CTRL_C = m.Interrupted("keyboard", "", None, None, "")


class Cut(NamedTuple):
    """A test that was interrupted after ``age`` seconds."""

    worker: str
    test: int
    age: float


class Loop:
    """One run, from the first fork to the last goodbye.

    ``tests`` is the collection, of which the scheduler plans so many ``copies``. ``make_node`` is
    called for each new worker: it makes the node that plugins see and lets them configure it.
    """

    def __init__(
        self,
        session: pytest.Session,
        *,
        zygote: Zygote,
        scheduler: Scheduler,
        replay: Replay,
        tests: Sequence[m.Test],
        copies: int,
        make_node: Callable[[int], Node],
        log: EventLog | None,
    ) -> None:
        self._session = session
        self._config = session.config
        self._hook: Any = session.config.hook
        self._zygote = zygote
        self._scheduler = scheduler
        self._replay = replay
        self._tests = tests
        self._copies = copies
        self._make_node = make_node
        self._log = log
        self._workers: dict[int, Worker] = {}
        self._readable: dict[int, Worker] = {}
        self._poll = select.poll()
        self._stopping = False
        self._is_excused = False
        """Whether there is a reason for tests that have no outcome."""
        self._is_mute = False
        self._ran: dict[int, int] = {}
        self.interrupted: m.Interrupted | None = None
        """Why the run ended early, if a test or the user ended it."""
        self.terminated = False
        """Whether that was SIGTERM."""
        self.internal_errors: list[str] = []
        self.usage_errors: tuple[str, ...] = ()
        self.gave_up: int | None = None
        self.zygote_died = False
        self.twice: list[int] = []
        """Tests that ended more than once, or without having begun: never, or braid is broken."""
        self.deaths: list[str] = []
        """How workers died that had not begun a test, which could tell of it."""
        self.cut: list[Cut] = []
        """Tests that an interrupt from outside of them has cut short."""

    def run(self) -> None:
        """Returns when every worker has ended.

        Raises:
            KeyboardInterrupt: Ctrl-C a second time; processes may be left for ``abort``.
        """
        with ExitStack() as stack:
            self._watch_signals(stack)
            self._poll.register(self._zygote.channel.fileno(), select.POLLIN)
            self._carry_out(self._scheduler.start(time.monotonic()))
            try:
                while not self.is_over:
                    self._turn()
            except BaseException:
                self._let_workers_end()
                raise

    def _let_workers_end(self) -> None:
        """A hook has raised, or Ctrl-C came twice: then at once, otherwise with teardown. What
        workers say meanwhile is nobody's business any more, but their goodbyes are."""
        self._is_mute = self._is_excused = True
        if self.interrupted is None:
            self._zygote.interrupt(self._workers)
            while not self.is_over:
                self._turn()

    def _turn(self) -> None:
        ready = {descriptor for descriptor, _ in self._poll.poll()}
        for descriptor in ready & self._readable.keys():
            self._hear(self._readable[descriptor])
        if self._zygote.channel.fileno() in ready:
            self._hear_zygote()
        if self._signals.fileno() in ready:
            self._signals.recv(64)
            self._forward_interrupt()
        queued = [worker.queued for worker in self._workers.values()]
        if queued and min(queued) >= _ENOUGH:
            time.sleep(_NAP)

    # --- signals ------------------------------------------------------------------------------

    def _watch_signals(self, stack: ExitStack) -> None:
        """Ctrl-C once: the running tests are interrupted and torn down. Twice: now."""
        self._signals, waker = socket.socketpair()
        stack.callback(self._signals.close)
        stack.callback(waker.close)
        waker.setblocking(False)
        if threading.current_thread() is not threading.main_thread():
            return  # Python handles signals in that one only
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker.fileno()))
        self._poll.register(self._signals.fileno(), select.POLLIN)
        for signum, usual, handler in (
            (signal.SIGINT, signal.default_int_handler, self._on_sigint),
            (signal.SIGTERM, signal.SIG_DFL, self._on_sigterm),
        ):
            if signal.getsignal(signum) is usual:  # otherwise it is somebody else's business
                stack.callback(signal.signal, signum, usual)
                signal.signal(signum, handler)

    def _on_sigint(self, *_: object) -> None:
        if self.interrupted is not None:
            raise KeyboardInterrupt
        self.interrupted = _CTRL_C

    def _on_sigterm(self, *_: object) -> None:
        if self.interrupted is not None:
            raise KeyboardInterrupt
        self.interrupted = m.Interrupted("exit", "received SIGTERM", None, None, "")
        self.terminated = True

    def _forward_interrupt(self, sayer: int | None = None) -> None:
        """Not in the handler, which may have come in the middle of another message. The worker
        that said so itself is in its teardown."""
        if self.interrupted is not None:
            self._is_excused = True
            if not self._stopping:
                self._stop("interrupted")  # first, or who catches Ctrl-C could begin another test
            self._zygote.interrupt(self._workers.keys() - {sayer})

    def _cut_short(self, worker: Worker) -> bool:
        """Remember the test that runs in a worker, if any: it will have no outcome."""
        test = worker.last_test
        if test is None or self._ran.get(test):
            return False
        if all(test != cut.test for cut in self.cut):
            self.cut.append(Cut(worker.name, test, time.monotonic() - worker.since))
        return True

    # --- what the zygote says -----------------------------------------------------------------

    def _hear_zygote(self) -> None:
        alive = self._zygote.channel.read()
        for said in self._zygote.channel.waiting():
            match said:
                case m.Exited() if said.worker in self._workers:
                    self._died(self._workers[said.worker], said.status)
                case m.InternalFailed():
                    self.internal_errors.append(said.text)
                case _:
                    pass
        if not alive:
            self.zygote_died = True
            for worker in list(self._workers.values()):  # they die with it
                self._hear_out(worker)
                self._cut_short(worker)

    def _hear_out(self, worker: Worker) -> None:
        while worker.channel.fileno() in self._readable and self._can_read(worker):
            self._hear(worker)

    def _died(self, worker: Worker, status: int) -> None:
        """The process is gone; what it had said is still in its channel, its goodbye perhaps."""
        self._hear_out(worker)
        if worker.number in self._workers:
            self._forget(worker)
            self._crashed(worker, status)
            worker.close()

    @staticmethod
    def _can_read(worker: Worker) -> bool:
        """A grandchild may hold the other end open, so the end of the stream may never come."""
        return bool(select.select([worker.channel.fileno()], [], [], 0)[0])

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.number]
        descriptor = worker.channel.fileno()
        if self._readable.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _crashed(self, worker: Worker, status: int) -> None:
        why, sections = describe_end(status), worker.last_words()
        running = worker.claimed()
        if running is not None and self._ran.get(running):
            running = None  # it had ended; the worker died before the next began
        self._node_down(worker, why)
        if self.interrupted is not None and status == -signal.SIGINT:  # ours: a test let it kill
            self._cut_short(worker)
        elif running is not None:
            self._report_crash(worker, running, why, sections)
        else:
            self._report_death(worker, why, sections)
        self._stop_if_told()
        if not worker.finishing:
            self._tell(e.WorkerDied(worker=worker.number, running=running, at=time.monotonic()))

    def _report_crash(
        self, worker: Worker, test: int, why: str, sections: list[tuple[str, str]]
    ) -> None:
        if worker.last_test != test:
            self._replay.begun(test)
        is_decided = worker.last_test == test and worker.is_decided
        self._replay.crashed(worker.node, test, why, sections, "teardown" if is_decided else "call")
        self._replay.done(test)
        self._count(test)

    def _report_death(self, worker: Worker, why: str, sections: list[tuple[str, str]]) -> None:
        """It ran no test when it died. What stood of its fixtures has not been torn down."""
        when = (
            "crashed while it ended its session (fixtures of session scope, pytest_sessionfinish)"
            if worker.finishing
            else "crashed while it ran no test"
        )
        text = f"worker '{worker.name}' {when}: {why}"
        if worker.last_test is None:
            self.deaths.append(text)
        else:
            self._replay.crashed_after(worker.node, worker.last_test, text, sections)

    def _node_ready(self, worker: Worker) -> None:
        self._hook.pytest_testnodeready(node=worker.node)
        collected = self._hook.pytest_xdist_node_collection_finished
        if collected.get_hookimpls():
            collected(node=worker.node, ids=[test.nodeid for test in self._tests])

    def _node_down(self, worker: Worker, error: str | None) -> None:
        self._hook.pytest_testnodedown(node=worker.node, error=error)

    # --- what workers say ---------------------------------------------------------------------

    def _hear(self, worker: Worker) -> None:
        """Handle what has come from a worker."""
        descriptor = worker.channel.fileno()
        alive = worker.channel.read()
        for said in worker.said():
            if not self._is_mute or isinstance(said, m.Goodbye):
                self._on_message(worker, said)
        if not alive and self._readable.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def _on_message(self, worker: Worker, said: m.FromWorker) -> None:
        match said:
            case m.PlainReport():
                self._reported(worker, said.test, self._replay.plain_report(worker.node, said))
            case m.Begun():
                worker.last_test, worker.since, worker.is_decided = said.test, said.at, False
                worker.queued -= 1
                self._replay.begun(said.test)
                self._tell(e.Started(worker=worker.number, test=said.test, at=said.at))
            case m.Done():
                self._replay.done(said.test)
                self._count(said.test)
                self._tell(e.Finished(worker=worker.number, test=said.test, at=said.at))
                self._stop_if_told()
            case m.Asking():
                self._tell(e.Asked(worker=worker.number, at=said.at))
            case m.Report():
                self._reported(worker, said.test, self._replay.full_report(worker.node, said))
            case m.Warned():
                self._replay.warning(said)
            case _:
                self._on_rare_message(worker, said)

    def _on_rare_message(
        self,
        worker: Worker,
        said: m.Ready
        | m.JunitNoted
        | m.Stopping
        | m.Interrupted
        | m.UsageFailed
        | m.InternalFailed
        | m.Goodbye,
    ) -> None:
        match said:
            case m.Ready():
                self._node_ready(worker)
                self._tell(e.WorkerReady(worker=worker.number, at=said.at))
            case m.JunitNoted():
                self._replay.noted(worker.node, said)
            case m.Stopping():
                self._session.shouldfail = self._session.shouldfail or said.shouldfail or False
                self._session.shouldstop = self._session.shouldstop or said.shouldstop or False
                self._stop_if_told()
                self._tell(e.WorkerStopped(worker=worker.number, at=time.monotonic()))
            case m.Interrupted():
                if self.interrupted is None:
                    self.interrupted = said
                    self._forward_interrupt(worker.number)
                elif self._cut_short(worker) and self.interrupted == _CTRL_C:
                    self.interrupted = said  # where Ctrl-C has met a test, for the terminal
            case m.UsageFailed():
                self.usage_errors = said.texts
            case m.InternalFailed():
                self.internal_errors.append(f"in worker {worker.name}:\n{said.text}")
            case m.Goodbye():
                worker.node.workeroutput.update(unpack(said.packed))
                self._ended(worker)
            case _:
                assert_never(said)

    def _reported(self, worker: Worker, test: int, report: pytest.TestReport) -> None:
        is_of_subtest = hasattr(report, "context")
        if not is_of_subtest and (report.when == "call" or report.outcome != "passed"):
            worker.is_decided = True
        if self._log is not None:
            self._log.event(
                e.Reported(
                    worker=worker.number,
                    test=test,
                    when=str(report.when),
                    outcome=report.outcome,
                    duration=report.duration,
                    at=time.monotonic(),
                )
            )

    def _count(self, test: int) -> None:
        if self._ran.get(test):
            self.twice.append(test)
        self._ran[test] = 1

    def _stop_if_told(self) -> None:
        """``-x``, ``--maxfail``, ``session.shouldstop`` of any plugin."""
        if not self._stopping and (self._session.shouldfail or self._session.shouldstop):
            self._is_excused = True
            self._stop(str(self._session.shouldfail or self._session.shouldstop))

    def _ended(self, worker: Worker) -> None:
        """Its session is over; the zygote waits for its process."""
        self._forget(worker)
        self._node_down(worker, None)
        self._record(e.WorkerEnded(worker=worker.number, at=time.monotonic()))
        if not worker.finishing:
            self._explain_early_end(worker)
            self._tell(e.WorkerStopped(worker=worker.number, at=time.monotonic()))
        worker.close()

    def _explain_early_end(self, worker: Worker) -> None:
        """An interrupt or an error ended its session, and it has said so; or else we say it."""
        told = (
            self._is_mute
            or self._stopping
            or self.internal_errors
            or self.usage_errors
            or self.interrupted
        )
        if not told:
            status = worker.node.workeroutput.get("exitstatus")
            self.deaths.append(
                f"the session of worker '{worker.name}' ended early, with exit status {status}, "
                "and did not say why: a plugin or a conftest.py raised something in a hook"
            )
        if not self._stopping:
            self._stop(f"the session of worker {worker.name} ended")

    def _stop(self, reason: str) -> None:
        self._stopping = True
        self._tell(e.StopRequested(reason=reason, at=time.monotonic()))

    # --- what the scheduler decides -----------------------------------------------------------

    def _tell(self, event: e.SchedulerEvent) -> None:
        self._record(event)
        self._carry_out(self._scheduler.handle(event))

    def _record(self, event: e.RunEvent) -> None:
        if self._log is not None:
            self._log.event(event)

    def _carry_out(self, commands: list[c.SchedulerCommand]) -> None:
        """In order; what a revocation leads to comes behind what was decided before it."""
        todo = deque(commands)
        while todo:
            command = todo.popleft()
            if self._log is not None:
                self._log.command(command, time.monotonic())
            if isinstance(command, c.Revoke):
                todo.extend(self._revoke(command.worker))
            else:
                self._do(command)

    def _do(
        self, command: c.Assign | c.StartWorker | c.End | c.Finish | c.Retire | c.GiveUp
    ) -> None:
        match command:
            case c.Assign():
                self._assign(command.worker, command.tests)
            case c.StartWorker():
                self._start(command.worker)
            case c.End():
                self._end(command.worker)
            case c.Finish():
                self._finish(command.worker)
            case c.GiveUp():
                self.gave_up = command.restarts
            case c.Retire():
                raise AssertionError("no option limits the tests of a worker: none retires")
            case _:
                assert_never(command)

    def _assign(self, number: int, tests: tuple[int, ...]) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.assign(tests)

    def _end(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.queue.put((END,))

    def _start(self, number: int) -> None:
        node = self._make_node(number)
        worker = Worker(number, node, len(self._tests))
        self._workers[number] = worker
        descriptor = worker.channel.fileno()
        self._readable[descriptor] = worker
        self._poll.register(descriptor, select.POLLIN)
        worker.fork(self._zygote, pack(node.workerinput))

    def _revoke(self, number: int) -> list[c.SchedulerCommand]:
        worker = self._workers.get(number)
        tests = worker.take_back() if worker is not None else ()
        event = e.Revoked(worker=number, tests=tests, at=time.monotonic())
        self._record(event)
        return self._scheduler.handle(event)

    def _finish(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            worker.finishing = True
            worker.queue.put((FINISH,))

    @property
    def is_over(self) -> bool:
        return not self._workers or self.zygote_died

    def unfinished(self) -> list[int]:
        """Tests without an outcome although nobody asked to stop."""
        if self._is_excused or self.usage_errors:
            return []
        tests = range(self._copies * len(self._tests))
        return [test for test in tests if not self._ran.get(test)]

    def abort(self) -> None:
        """Kill what is left; the run is being abandoned."""
        for worker in self._workers.values():
            self._cut_short(worker)
            self._zygote.send(m.Signal(worker.number, signal.SIGKILL, group=True))
