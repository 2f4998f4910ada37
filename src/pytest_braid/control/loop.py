"""The controller's loop: waits for what workers and zygote say, tells the scheduler, does what it
decides. It decides nothing itself."""

from __future__ import annotations

import select
import signal
import time
from collections import deque
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack
from typing import assert_never

import pytest

from pytest_braid.control.audience import Audience
from pytest_braid.control.crew import Crew, Order
from pytest_braid.control.desk import Desk
from pytest_braid.control.fleet import Duty, Underway, Worker, Zygote, describe_end
from pytest_braid.control.interrupts import CTRL_C, Interrupts
from pytest_braid.control.ledger import Ledger
from pytest_braid.control.meter import Meter
from pytest_braid.control.node import Node, Slots
from pytest_braid.control.progress import Shown
from pytest_braid.control.replay import Replay
from pytest_braid.control.shared import SharedFixtures
from pytest_braid.control.texts import crash_text, gave_up_text, replacing_text
from pytest_braid.control.watch import Limits, Watch
from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.model.board import Cancel
from pytest_braid.model.shares import Borrow, Return
from pytest_braid.schedule.holders import Holders
from pytest_braid.schedule.scheduler import Scheduler
from pytest_braid.seam import output
from pytest_braid.seam.interpreter import freeze_what_is_left
from pytest_braid.wire import messages as m
from pytest_braid.wire.values import unpack

_NAP = 0.005
"""Seconds to let messages gather after some have come, so that the workers, who have the same
cores, are not interrupted for each."""

_ENOUGH = 8
"""Tests in the queue of every worker with which the controller can nap: nobody waits for it. The
scheduler keeps ten times the length of a nap in the queues of workers with short tests."""


class Loop:
    """One run, from the first fork to the last goodbye.

    ``tests`` is the collection, of which the scheduler plans so many ``copies``; ``uncollected``
    are the node ids of what could not be collected. ``make_node``
    makes the node of a slot, which is what plugins see of its workers, and lets them configure it.
    ``started`` is told how many workers there are at first.
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
        uncollected: Container[str],
        make_node: Callable[[int], Node],
        limits: Limits,
        share: Callable[..., SharedFixtures],
        audience: Audience,
        progress: Shown | None,
        started: Callable[[int], None],
        meter: Meter | None = None,
    ) -> None:
        self._session = session
        self._uncollected = uncollected
        self._zygote = zygote
        self._scheduler = scheduler
        self._replay = replay
        self._tests = tests
        self._slots = Slots(session.config, make_node, tests)
        self._watch = Watch(zygote, limits, session.config.rootpath)
        # What most runs have no need of is not asked for each of their tests.
        self._has_limits = limits.common is not None or any(test.timeout for test in tests)
        self._audience = audience
        self._progress = progress
        self._started = started
        self._meter = meter
        self._live = zygote.live
        self._poll = self._live.poll
        self._crew = Crew(zygote, self._slots, self._poll, self._watch, len(tests))
        self._stopping = False
        self._is_mute = False
        self._holders = Holders([test.uses for test in tests], copies)
        self._desk = Desk(self._poll, self._holders)
        self._shared = share(
            desk=self._desk,
            poll=self._poll,
            watch=self._watch,
            zygote=zygote,
            replay=replay,
            holders=self._holders,
            tell=self._tell,
        )
        self._has_cleaned_up = False
        self.interrupts = Interrupts()
        self.ledger = Ledger(replay, copies * len(tests))
        self.internal_errors: list[str] = []
        self.usage_errors: tuple[str, ...] = ()
        self.gave_up: str | None = None
        """In words: that more workers have crashed than may be replaced."""
        self.zygote_died = False
        self.different: dict[str, list[str]] = {}
        """What workers have collected whose collections are not the run's."""

    def run(self) -> None:
        """Returns when every worker has ended.

        Raises:
            KeyboardInterrupt: Ctrl-C a second time; processes may be left for ``abort``.
        """
        with ExitStack() as stack:
            stack.callback(self._replay.finish)
            stack.callback(self._account_for_values)
            stack.callback(self._shared.close)
            if self._progress is not None:
                stack.callback(self._progress.close)
                self._live.let(self._progress.take_away, self._progress.wrote)
            self.interrupts.watch(stack)
            for source in (self.interrupts, self._zygote.channel):
                self._poll.register(source.fileno(), select.POLLIN)
            try:
                self._start_all()
                while not self.is_over or self._clean_up():
                    self._turn()
            except BaseException:
                self._let_workers_end()
                raise

    def _start_all(self) -> None:
        self._shared.start()
        self._carry_out(self._scheduler.start(time.monotonic()))
        self._started(len(self._crew))
        for worker in self._crew:  # spawned ones may have spoken before
            self._take_messages(worker)
        self._take_zygote_messages()

    def _let_workers_end(self) -> None:
        """A hook has raised, or Ctrl-C came twice: then at once, otherwise with teardown. What
        workers say meanwhile is nobody's business any more, but their goodbyes are."""
        self._is_mute = self.ledger.is_excused = True
        if self.interrupts.said is None:
            self._stop("the controller failed")  # or a worker that ends could have a successor
            for worker in self._crew:  # what they ask from now on nobody answers
                self._crew.finish(worker)
            self._zygote.interrupt(self._crew.numbers)
            while not self.is_over or self._clean_up():
                self._turn()

    def _clean_up(self) -> bool:
        """Start one more worker, to do what the last user of a value has not done, for it has died.
        Returns whether there is one."""
        if self.zygote_died or self._has_cleaned_up or not self._holders.owes:
            return False
        self._has_cleaned_up = True
        number, slot = self._crew.newest
        self._crew.finish(self._start(number + 1, slot + 1))
        return True

    def _account_for_values(self) -> None:
        self.ledger.losses = self._holders.losses()

    def _turn(self) -> None:
        self._audience.rest()
        at = time.monotonic()
        meter = None if self._meter is None else self._meter.wait(at)
        found = (self._watch.wait(at), self._live.patience(), self._show_progress(at), meter)
        waits = [wait for wait in found if wait is not None]
        ready = self._desk.poll(min(waits, default=None))
        is_printing = self._live.read(ready)
        if is_printing:  # what has been said before it was printed is there by now
            ready |= self._desk.poll(0)
        talking = self._crew.talking(ready)
        for worker in talking:
            self._hear(worker)
        if self._shared.fileno() in ready:
            self._shared.read()
        if self._zygote.channel.fileno() in ready:
            self._hear_zygote()
        if self.interrupts.fileno() in ready:
            self.interrupts.clear()
            self._forward_interrupt()
        self._watch.keep_still(self._desk.waits())
        self._watch.look(at, talking)
        if not self._crew and not self._clean_up():
            self._shared.end()
        self._measure()
        self._live.show()
        freeze_what_is_left()
        if self._crew.least_queued() >= _ENOUGH and not is_printing:
            time.sleep(_NAP)

    def _show_progress(self, at: float) -> float | None:
        """Milliseconds until that is to be done again."""
        if self._progress is None:
            return None
        self._progress.rest(at)
        return self._progress.patience(at)

    def _measure(self) -> None:
        if self._meter is not None:
            measured = self._meter.look(time.monotonic(), self._crew.numbers)
            if measured is not None:
                self._tell(measured)

    def _forward_interrupt(self, sayer: int | None = None) -> None:
        """The worker that said so itself is in its teardown."""
        if self.interrupts.said is not None:
            self.ledger.is_excused = True
            if not self._stopping:
                self._stop("interrupted")  # first, or who catches Ctrl-C could begin another test
            self._shared.interrupt()
            self._zygote.interrupt(self._crew.numbers - {sayer})

    # --- what the zygote says -----------------------------------------------------------------

    def _hear_zygote(self) -> None:
        alive = self._zygote.channel.read()
        self._take_zygote_messages()
        if not alive:
            self.zygote_died = True
            for worker in self._crew:  # they die with it
                self._hear_out(worker)
                self.ledger.cut_short(worker)

    def _take_zygote_messages(self) -> None:
        for said in self._zygote.channel.waiting():
            match said:
                case m.Exited() if self._shared.owns(said.worker):
                    self._shared.exited(said.status)
                case m.Exited():
                    self._exited(said)
                case m.InternalFailed():
                    self.internal_errors.append(said.text)
                case _:
                    pass

    def _exited(self, said: m.Exited) -> None:
        worker = self._crew.get(said.worker)
        if worker is not None:
            self._died(worker, said.status)

    def _hear_out(self, worker: Worker) -> None:
        while self._crew.is_heard(worker) and self._can_read(worker):
            self._hear(worker)

    def _died(self, worker: Worker, status: int) -> None:
        """The process is gone; what it had said is still in its channel, its goodbye perhaps."""
        self._hear_out(worker)
        self._live.ended(worker)
        if worker.number in self._crew.numbers:
            if worker.duty is Duty.RETIRED and worker.overrun is None:
                self._forget(worker)
                self._gone(worker, None)
            else:
                self._crashed(worker, status)
            worker.close()

    @staticmethod
    def _can_read(worker: Worker) -> bool:
        """A grandchild may hold the other end open, so the end of the stream may never come."""
        return bool(select.select([worker.channel.fileno()], [], [], 0)[0])

    def _forget(self, worker: Worker, crash: str | None = None) -> None:
        """It has left; ``crash`` says how, in words, if it was not in order."""
        self._desk.left(worker, crash)
        self._shared.left(worker)
        self._crew.forget(worker)

    def _crashed(self, worker: Worker, status: int) -> None:
        suspects, is_crash = self.ledger.running(worker), worker.overrun is None
        running = suspects.pop() if len(suspects) == 1 else None
        why = describe_end(status) if is_crash else self._watch.explain(worker)
        error = crash_text(why) if is_crash else why
        self._forget(worker, self._with_test(running, why))
        leaves = worker.duty in (Duty.RETIRING, Duty.RETIRED)
        if not leaves:
            self._slots.down(worker.slot, error)
        if self.interrupts.said is not None and status == -signal.SIGINT:
            self.ledger.cut_short(worker)  # ours: a test let it kill
        elif running is not None and not is_crash:
            nodeid = self._tests[running % len(self._tests)].nodeid
            text = self._watch.advise(worker, nodeid, why, status)
            self.ledger.report_timeout(worker, running, text)
        elif suspects:
            self.ledger.note_suspects(worker, suspects, why)
        else:
            printed = "" if worker.is_ready else self._zygote.printed()
            if self.ledger.report_crash(worker, running, why, printed):
                running = None
        if running is not None:
            self._shared.over(running)
        self._stop_if_told()
        if leaves:
            self._gone(worker, error)
        elif worker.duty is Duty.TESTS:
            died = e.WorkerDied(
                worker=worker.number,
                running=running,
                is_crash=is_crash,
                suspects=tuple(suspects),
                at=time.monotonic(),
            )
            self._tell_death(worker, died, error)

    def _tell_death(self, worker: Worker, died: e.WorkerDied, error: str) -> None:
        """And say what becomes of it, unless it was to be replaced anyway (``--forked``)."""
        crashes, numbers = self._scheduler.crashes, {*self._crew.numbers}
        self._tell(died)
        if self._scheduler.crashes == crashes or self._is_mute or self.interrupts.said is not None:
            return
        if self._scheduler.exceeded is not None:
            self.gave_up = gave_up_text(self._scheduler.exceeded, worker.name)
        lines = [f"[{worker.name}] node down: {error}"]
        if self.gave_up is not None:
            lines.append(self.gave_up)
        elif not self._stopping:
            lines.append(replacing_text(worker.name, is_needed=not self._crew.numbers <= numbers))
        output.say(self._session.config, "\n".join(lines))

    def _with_test(self, running: int | None, why: str) -> str:
        nodeid = None if running is None else self._tests[running % len(self._tests)].nodeid
        return why if nodeid is None else f"in '{nodeid}': {why}"

    def _gone(self, worker: Worker, error: str | None) -> None:
        """A worker has made room, by its death even, and may have a successor by now."""
        self._tell(e.WorkerGone(worker=worker.number, at=time.monotonic()))
        if not self._crew.is_in(worker.slot):
            self._slots.down(worker.slot, error)

    # --- what workers say ---------------------------------------------------------------------

    def _hear(self, worker: Worker) -> None:
        """Handle what has come from a worker."""
        alive = worker.channel.read()
        self._take_messages(worker)
        if not alive:
            self._crew.hang_up(worker)

    def _take_messages(self, worker: Worker) -> None:
        is_heard = worker.overrun is None and not self._is_mute
        for said in worker.said():
            if is_heard:
                self._on_message(worker, said)
            else:
                self._note_in_passing(worker, said)

    def _note_in_passing(self, worker: Worker, said: m.FromWorker) -> None:
        """What a worker says at the end of its time, or of the run, matters little."""
        match said:
            case m.Asks():  # who waits for an answer ends when it has it
                self._on_message(worker, said)
            case _ if worker.overrun is not None:
                pass
            case m.Goodbye():
                self._on_message(worker, said)
            case m.Begun():
                worker.begin(said.test, said.at)
            case m.Done():
                self.ledger.count(said.test)
            case _:
                pass

    def _on_message(self, worker: Worker, said: m.FromWorker) -> None:
        match said:
            case m.PlainReport():
                if self._live.is_on:
                    is_shown = said.when == "call" or said.outcome != "passed"
                    self._live.pass_mark(worker, is_shown=is_shown)
                self._reported(worker, said.test, self._replay.plain_report(worker.node, said))
            case m.Begun():
                self._begun(worker, said)
            case m.Done():
                self._over(worker, said)
            case m.Asking():
                self._asked(worker, said.at)
            case m.Report():
                self._live.pass_mark(worker)
                self._reported(worker, said.test, self._replay.full_report(worker.node, said))
            case m.Warned():
                self._replay.warning(said)
            case m.FixtureMade():
                made = e.FixtureSetUp(
                    worker=worker.number,
                    test=said.test,
                    fixture=said.fixture,
                    seconds=said.seconds,
                    at=said.at,
                )
                self._tell(made)
            case m.Asks():
                self._on_question(worker, said)
            case _:
                self._on_rare_message(worker, said)

    def _on_question(self, worker: Worker, said: m.Asks) -> None:
        if isinstance(said.question, Borrow | Return):
            self._shared.hear(worker, said)
            return
        if isinstance(said.question, Cancel):
            self._shared.cancel(worker, said.question.number)
        self._desk.hear(worker, said)
        self._shared.asked(worker, said.question)

    def _over(self, worker: Worker, said: m.Done) -> None:
        test = said.test
        underway = worker.underway.pop(test, None) or Underway(test, said.at)
        if self._has_limits:
            self._watch.over(worker, test)
        if self._live.is_on:
            self._live.runs(worker, "")
        self._replay.done(test)
        self.ledger.count(test)
        self._stop_if_told()  # first, or its worker could be told to make room
        finished = e.Finished(
            worker=worker.number,
            test=test,
            cpu=said.cpu,
            memory=said.memory,
            waited=said.waited,
            setup=underway.setup,
            call=underway.call,
            teardown=underway.teardown,
            passed=underway.passed,
            at=said.at,
        )
        self._tell(finished)
        if self._replay.has_shares:
            self._shared.over(test)

    def _begun(self, worker: Worker, said: m.Begun) -> None:
        test = self._tests[said.test % len(self._tests)]
        worker.begin(said.test, said.at)
        if self._has_limits:
            self._watch.begun(worker, said.test, test, said.at, strand=said.strand)
        if self._replay.has_shares:
            self._shared.began(said.test, worker)
        if self._live.is_on:
            self._live.pass_mark(worker)
            self._live.runs(worker, test.nodeid)
        self._replay.begun(said.test)
        started = e.Started(worker=worker.number, test=said.test, strand=said.strand, at=said.at)
        self._tell(started)

    def _on_rare_message(
        self,
        worker: Worker,
        said: m.Ready
        | m.JunitNoted
        | m.Stopping
        | m.Interrupted
        | m.UsageFailed
        | m.InternalFailed
        | m.Goodbye
        | m.CollectReported
        | m.Deselected
        | m.Collected
        | m.Waiting
        | m.Recollected
        | m.Extended
        | m.LoopBlocked,
    ) -> None:
        match said:
            case m.Ready():
                self._got_ready(worker, said)
            case m.Extended():
                self._watch.extended(worker, said.test, said.seconds)
            case m.LoopBlocked():
                self._audience.event(
                    e.LoopBlocked(
                        worker=worker.number,
                        test=said.test,
                        seconds=said.seconds,
                        stack=said.stack,
                        at=time.monotonic(),
                    )
                )
            case m.JunitNoted():
                self._replay.noted(worker.node, said)
            case m.Stopping():
                self._session.shouldfail = self._session.shouldfail or said.shouldfail or False
                self._session.shouldstop = self._session.shouldstop or said.shouldstop or False
                self._stop_if_told()
                running, at = tuple(worker.underway), time.monotonic()
                self._tell(e.WorkerStopped(worker=worker.number, running=running, at=at))
            case m.Interrupted():
                self._interrupted(worker, said)
            case m.UsageFailed():
                self.usage_errors = said.texts
                self.ledger.is_excused = True
            case m.InternalFailed():
                self.internal_errors.append(f"in worker {worker.name}:\n{said.text}")
            case m.Goodbye():
                self._said_goodbye(worker, said)
            case _:
                self._on_collection(worker, said)

    def _got_ready(self, worker: Worker, said: m.Ready) -> None:
        self._crew.is_up(worker)
        self._slots.ready(worker.slot)
        if self._meter is not None:
            self._meter.ready(worker.number, said.pid, time.monotonic())
        self._tell(e.WorkerReady(worker=worker.number, at=said.at))

    def _interrupted(self, worker: Worker, said: m.Interrupted) -> None:
        if self.interrupts.said is None:
            self.interrupts.said = said
            if said.kind == "keyboard":
                self.ledger.cut_short(worker)
            self._forward_interrupt(worker.number)
        elif self.ledger.cut_short(worker) and self.interrupts.said == CTRL_C:
            self.interrupts.said = said  # where Ctrl-C has met a test, for the terminal

    def _on_collection(
        self,
        worker: Worker,
        said: m.CollectReported | m.Deselected | m.Collected | m.Waiting | m.Recollected,
    ) -> None:
        """Of a spawned worker. What the first of them had to say of it has been heard by now."""
        match said:
            case m.Recollected():
                self._compare(worker, said.nodeids)
            case m.CollectReported() if worker.number:
                self._note_failure(worker, said)
            case m.CollectReported() | m.Deselected() | m.Collected() | m.Waiting():
                pass
            case _:
                assert_never(said)

    def _note_failure(self, worker: Worker, said: m.CollectReported) -> None:
        report = unpack(said.packed)
        if report["nodeid"] not in self._uncollected:
            text = said.shown or report["longrepr"]
            self.ledger.deaths.append(
                f"worker '{worker.name}' could not collect {report['nodeid']!r}, which the first "
                f"could:\n{text}"
            )

    def _compare(self, worker: Worker, nodeids: Sequence[str]) -> None:
        """With the run's collection. Another order is none of our business; other tests are."""
        ours = [test.nodeid for test in self._tests]
        if ours == list(nodeids):
            worker.settle(None)
            return
        numbers = {nodeid: number for number, nodeid in enumerate(ours)}
        if len(numbers) == len(nodeids) and numbers.keys() == set(nodeids):
            worker.settle([numbers[nodeid] for nodeid in nodeids])
            return
        if self._stopping:
            return  # it was told to stop collecting
        self.different[worker.name] = list(nodeids)
        self.ledger.is_excused = True
        if not self._stopping:
            self._stop(f"worker {worker.name} has collected other tests")

    def _asked(self, worker: Worker, at: float) -> None:
        """While it waits for an answer its test's clock stands still. There is none if tests were
        on their way to it when it asked."""
        if worker.duty is Duty.TESTS:  # or the answer is there already
            self._watch.asked(worker, at)
        self._tell(e.Asked(worker=worker.number, at=at))
        if worker.queued:
            self._watch.answered(worker)

    def _reported(self, worker: Worker, test: int, report: pytest.TestReport) -> None:
        underway = worker.underway.get(test)
        if underway is not None:
            underway.note(report)
        if self._audience.hears_reports or underway is None:  # then it comes behind ``Finished``
            self._audience.event(
                e.Reported(
                    worker=worker.number,
                    test=test,
                    when=str(report.when),
                    outcome=report.outcome,
                    duration=report.duration,
                    at=time.monotonic(),
                )
            )

    def _stop_if_told(self) -> None:
        """``-x``, ``--maxfail``, ``session.shouldstop`` of any plugin."""
        if not self._stopping and (self._session.shouldfail or self._session.shouldstop):
            self.ledger.is_excused = True
            self._stop(str(self._session.shouldfail or self._session.shouldstop))

    def _said_goodbye(self, worker: Worker, said: m.Goodbye) -> None:
        worker.node.workeroutput.update(unpack(said.packed))
        if said.retires:
            worker.duty = Duty.RETIRED  # it has made room when its process is gone
        else:
            self._ended(worker)

    def _ended(self, worker: Worker) -> None:
        """Its session is over; the zygote waits for its process."""
        self._forget(worker)
        self._live.ended(worker)
        self._slots.down(worker.slot, None)
        self._audience.event(e.WorkerEnded(worker=worker.number, at=time.monotonic()))
        if worker.duty is not Duty.FINISHING:
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
            or self.interrupts.said
        )
        if not told:
            status = worker.node.workeroutput.get("exitstatus")
            self.ledger.deaths.append(
                f"the session of worker '{worker.name}' ended early, with exit status {status}, "
                "and did not say why: a plugin or a conftest.py raised something in a hook"
            )
        if not self._stopping:
            self._stop(f"the session of worker {worker.name} ended")

    def _stop(self, reason: str) -> None:
        self._stopping = True
        self._shared.stop()
        self._tell(e.StopRequested(reason=reason, at=time.monotonic()))

    # --- what the scheduler decides -----------------------------------------------------------

    def _tell(self, event: e.SchedulerEvent) -> None:
        self._audience.event(event)
        self._holders.event(event)
        commands = self._scheduler.handle(event)
        if commands:
            self._carry_out(commands)

    def _carry_out(self, commands: list[c.SchedulerCommand]) -> None:
        """In order; what a revocation leads to comes behind what was decided before it."""
        todo = deque(commands)
        while todo:
            command = todo.popleft()
            self._audience.command(command, time.monotonic())
            if isinstance(command, c.Revoke):
                todo.extend(self._revoke(command))
            else:
                self._do(command)

    def _do(self, command: Order | c.StartWorker | c.Wait | c.GiveUp) -> None:
        match command:
            case c.StartWorker():
                self._start(command.worker, command.slot)
            case c.Wait():
                pass  # it is for who reads of it
            case c.GiveUp():
                self.gave_up = gave_up_text(command.restarts, "")
            case _:
                self._crew.carry_out(command)

    def _start(self, number: int, slot: int) -> Worker:
        worker = self._crew.start(number, slot)
        self._desk.open(worker)
        self._shared.joined(worker)
        return worker

    def _revoke(self, order: c.Revoke) -> list[c.SchedulerCommand]:
        tests = self._crew.take_back(order.worker, asides=order.asides)
        event = e.Revoked(worker=order.worker, tests=tests, at=time.monotonic())
        self._audience.event(event)
        return self._scheduler.handle(event)

    @property
    def is_over(self) -> bool:
        return (not self._crew and self._shared.is_over) or self.zygote_died

    def abort(self) -> None:
        """Kill what is left; the run is being abandoned. What workers have said until now tells
        which tests they run."""
        for worker in self._crew:
            self._hear_out(worker)
            self.ledger.cut_short(worker)
            self._zygote.send(m.Signal(worker.number, signal.SIGKILL, group=True))
        self._shared.abort()
