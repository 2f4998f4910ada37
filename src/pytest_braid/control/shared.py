"""Fixtures shared by the run, as processes and messages: carries out what ``schedule.shares``
decides."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, assert_never

import msgspec

from pytest_braid.control.child import nameless_files
from pytest_braid.control.desk import Desk
from pytest_braid.control.fleet import Host, Worker, Zygote, describe_end
from pytest_braid.control.replay import Replay
from pytest_braid.control.texts import (
    host_crashed,
    host_differs,
    host_overran,
    not_set_up,
    torn_down_already,
)
from pytest_braid.control.watch import Watch
from pytest_braid.model import board as b
from pytest_braid.model import events as e
from pytest_braid.model import holders as h
from pytest_braid.model.shares import Borrow, Failure, Lent, Output, Return, Share
from pytest_braid.schedule import shares as s
from pytest_braid.schedule.holders import Holders
from pytest_braid.wire import messages as m

PATIENCE = 10.0
"""Seconds that shared fixtures have to be torn down when Ctrl-C has come twice."""

_NOTHING = Output()


class _Value(msgspec.Struct, eq=False):
    """What came of a share."""

    file: IO[bytes] | None = None
    output: Output = _NOTHING
    """Of its setup, until it is told to the first user; then of its teardown."""
    failure: Failure | None = None
    user: tuple[Worker, int] | None = None
    """The last test that has used it, and its worker."""


class SharedFixtures:
    """The fixture host of a run, as soon as somebody needs it, and its successor if it crashes.

    ``users`` are the numbers of the tests that use each share, ``askers`` of those that could ask
    for more by name. ``make_node`` makes what the host is told of itself, ``tell`` tells the
    scheduler.
    """

    def __init__(
        self,
        *,
        zygote: Zygote,
        desk: Desk,
        poll: select.poll,
        watch: Watch,
        replay: Replay,
        holders: Holders,
        tests: Sequence[m.Test],
        shares: Sequence[Share],
        users: Mapping[int, Sequence[int]],
        askers: Sequence[int],
        make_node: Callable[[], Any],
        tell: Callable[[e.SchedulerEvent], None],
        is_spawned: bool,
    ) -> None:
        self._zygote = zygote
        self._desk = desk
        self._poll = poll
        self._watch = watch
        self._replay = replay
        self._holders = holders
        self._tests = tests
        self._make_node = make_node
        self._tell = tell
        self._is_spawned = is_spawned
        self._shares = s.Shares(shares, users, askers)
        self._values: dict[int, _Value] = {}
        self._host: Host | None = None
        self._hosts = 0
        self._held: list[tuple[m.ToHost, tuple[int, ...]]] | None = None
        """Orders that wait until a spawned host has collected."""
        self._order: Sequence[int] | None = None
        self._different: str | None = None
        self._crash: str | None = None
        self._is_stopping = False
        self._broken_off: set[int] = set()
        self._is_ending = False
        self._has_said_goodbye = False
        self._down: set[int] = set()
        """What was torn down because the run ends."""
        self._untold: set[int] = set()
        """What stood in a host that has crashed, of which no user was told yet."""
        self._internal = ""
        self._made_with: dict[str, frozenset[int]] = {}
        """Of values that processes have in common (``model.holders``): what their makers had."""

    # --- what the loop tells --------------------------------------------------------------------

    def start(self) -> None:
        self._do(self._shares.start())

    def joined(self, worker: Worker) -> None:
        self._shares.joined(worker.number)

    def began(self, test: int, worker: Worker) -> None:
        self._shares.began(test, worker.number)
        for share in self._tests[test % len(self._tests)].shares:
            self._value(share).user = worker, test

    def over(self, test: int) -> None:
        self._do(self._shares.over(test))
        self._break_off()

    def left(self, worker: Worker) -> None:
        self._keep()
        self._do(self._shares.left(worker.number))
        self._break_off()

    def asked(self, worker: Worker, question: b.Ask) -> None:
        """A worker has asked something, or said, of a value that processes have in common."""
        if isinstance(question, h.Made) and not question.failure:
            made_with = self._shares.held_by(worker.number)
            if made_with:
                self._made_with[question.value] = made_with
        self._keep()

    def _keep(self) -> None:
        """Let stand what another worker needs to clean up such values, those that nobody has."""
        if self._made_with:
            orphans = self._holders.orphans()
            kept = (share for value in orphans for share in self._made_with.get(value, ()))
            self._do(self._shares.keep(kept))

    def stop(self) -> None:
        """No test begins any more: a setup that nobody waits for is broken off."""
        self._is_stopping = True
        self._do(self._shares.stop())
        self._break_off()

    def _break_off(self) -> None:
        if self._is_stopping and not self._shares.needs_setup():
            self.interrupt()

    def interrupt(self) -> None:
        """Ctrl-C: a setup is broken off, once; a teardown never."""
        busy = self._shares.busy
        if self._host is None or busy is None or busy in self._broken_off:
            return
        if self._shares.is_setting_up:
            self._broken_off.add(busy)
            self._host.break_off(busy)
            self._zygote.interrupt((self._host.number,))

    def cancel(self, worker: Worker, number: int) -> None:
        """A worker does not wait for its answer any more."""
        self._do(self._shares.cancel(worker.number, number))
        self._break_off()

    def hear(self, worker: Worker, said: m.Asks) -> None:
        """A worker borrows a value, or returns it."""
        match said.question:
            case Borrow() as asked:
                test = 0 if said.test is None else said.test
                known = self._tests[test % len(self._tests)].shares
                share = self._shares.find(Share(asked.key, asked.params, asked.label), known)
                self._value(share).user = worker, test
                self._do(self._shares.borrow(worker.number, asked.number, share, test))
            case Return() as asked:
                self._do(self._shares.give_back(worker.number, asked.borrowed, asked.number))
            case _:
                pass

    # --- the host -------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Where the host speaks; -1 without one."""
        return -1 if self._host is None else self._host.talk.fileno()

    @property
    def is_over(self) -> bool:
        return self._host is None

    def owns(self, number: int) -> bool:
        """Whether this is the number of the host's process."""
        return self._host is not None and self._host.number == number

    def read(self) -> None:
        """Hear what the host has said."""
        if self._host is None:
            return
        alive = self._host.talk.read()
        for said in self._host.talk.waiting():
            self._hear_host(said)
        if not alive:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self.fileno())

    def _hear_host(self, said: m.FromHost) -> None:
        match said:
            case m.IsUp():
                self._has_answered()
                self._is_up(said)
            case m.IsDown():
                self._has_answered()
                self._is_down(said)
            case m.Warned():
                self._replay.warning(said)
            case m.Recollected():
                self._settle(said.nodeids)
            case m.InternalFailed():
                self._internal = said.text
            case m.UsageFailed():
                self._internal = "\n".join(said.texts)
            case m.Goodbye():
                self._has_said_goodbye = True
            case m.Interrupted() | m.CollectReported() | m.Deselected():
                pass
            case _:
                assert_never(said)

    def _has_answered(self) -> None:
        if self._host is None:
            return
        if self._is_ending:  # each of the teardowns that follow has as much time
            self._watch.ordered(self._host)
        else:
            self._watch.gone(self._host)

    def _is_down(self, said: m.IsDown) -> None:
        value = self._value(said.share)
        value.output, value.failure = said.output, said.failure
        if self._is_ending:
            self._down.add(said.share)
            self._report(said.share)
        else:
            self._do_torn_down(said.share)

    def _is_up(self, said: m.IsUp) -> None:
        value = self._value(said.share)
        value.output, value.failure = said.output, said.failure
        if said.failure is not None:
            self._free(said.share)
        self._do(self._shares.set_up(said.share, is_up=said.failure is None))
        self._break_off()

    def _do_torn_down(self, share: int) -> None:
        try:
            if not self._shares.is_awaited(share):
                self._report(share)
        finally:
            self._do(self._shares.torn_down(share))

    def _report(self, share: int) -> None:
        """No worker waits for this teardown: what came of it is told of the last user."""
        value = self._value(share)
        node, test = self._last_user(share)
        sections = _sections(value.output)
        if value.failure is None:
            self._replay.shared_said(test, sections)
        else:
            self._replay.shared_failed(node, test, value.failure, sections)

    def _last_user(self, share: int) -> tuple[Any, int]:
        user = self._value(share).user
        if user is None:
            return self._make_node(), self._shares.a_user(share)
        return user[0].node, user[1]

    def exited(self, status: int) -> None:
        """The process of the host is gone."""
        assert self._host is not None
        while select.select([self.fileno()], [], [], 0)[0] and self._host.talk.read():
            pass
        for said in self._host.talk.waiting():
            self._hear_host(said)
        host, self._host = self._host, None
        self._watch.gone(host)
        with contextlib.suppress(KeyError):
            self._poll.unregister(host.talk.fileno())
        self._zygote.live.ended(host)
        if not (self._is_ending and self._has_said_goodbye):
            self._crashed(host, status)
        host.close()

    def _crashed(self, host: Host, status: int) -> None:
        busy = self._shares.busy
        doing = None
        if busy is not None:
            verb = "set up" if self._shares.is_setting_up else "tore down"
            doing = f"while it {verb} {self._shares.share(busy).label!r}"
        if host.overrun is None:
            self._crash = host_crashed(describe_end(status), doing, self._internal)
        else:
            self._crash = host_overran(self._watch.explain(host), doing)
        sections = host.last_words()
        lost = [
            number
            for number in self._values
            if number == busy or self._shares.phase(number) in (s.Phase.UP, s.Phase.ENDING)
        ]
        for number in lost:
            if number in self._down:
                continue
            value = self._value(number)
            words = "\n".join(f"--- {title} ---\n{text}" for title, text in sections)
            value.failure = Failure("error", "\n".join(filter(None, [self._crash, words])))
            value.output = _NOTHING
            phase = self._shares.phase(number)
            is_ending = phase is s.Phase.ENDING and not self._shares.is_awaited(number)
            if self._is_ending or is_ending:
                self._report(number)
            elif phase is s.Phase.UP:
                self._untold.add(number)
        if not self._is_ending:
            self._do(self._shares.host_gone())

    def _settle(self, nodeids: Sequence[str]) -> None:
        """What a spawned host has collected, whose numbers are its own."""
        numbers = {nodeid: number for number, nodeid in enumerate(nodeids)}
        ours = [test.nodeid for test in self._tests]
        if numbers.keys() != {*ours}:
            self._different = host_differs()
        self._order = [numbers.get(nodeid, 0) for nodeid in ours]
        held, self._held = self._held, None
        for order, files in held or ():
            self._order_host(order, files)

    # --- what is decided ------------------------------------------------------------------------

    def _do(self, commands: Sequence[s.Command]) -> None:
        for command in commands:
            match command:
                case s.SetUp():
                    self._set_up(command)
                case s.TearDown():
                    self._order_host(m.TearDown(command.share))
                case s.Lend():
                    self._lend(command)
                case s.LetGo():
                    self._let_go(command)
                case s.Settled():
                    self._tell(e.ShareSettled(share=command.share, at=time.monotonic()))
                case s.Free():
                    self._free(command.share)
                case _:
                    assert_never(command)

    def _value(self, share: int) -> _Value:
        return self._values.setdefault(share, _Value())

    def _set_up(self, command: s.SetUp) -> None:
        if self._host is None:
            self._launch()
        value = self._value(command.share)
        (value.file,) = nameless_files(1)
        test = command.test % len(self._tests)
        key = self._shares.share(command.share).key
        self._order_host(m.SetUp(command.share, test, key), (value.file.fileno(),))

    def _launch(self) -> None:
        self._hosts += 1
        self._host = self._zygote.launch_host(-self._hosts, self._make_node())
        self._internal = ""
        self._held = [] if self._is_spawned else None
        self._poll.register(self._host.talk.fileno(), select.POLLIN)

    def _order_host(self, order: m.ToHost, files: tuple[int, ...] = ()) -> None:
        if self._host is None:
            return
        if self._held is not None:
            self._held.append((order, files))
            return
        if isinstance(order, m.SetUp) and self._different is not None:
            failure = Failure("error", self._different)
            self._is_up(m.IsUp(order.share, _NOTHING, failure))
            return
        if isinstance(order, m.SetUp) and self._order is not None:
            order = m.SetUp(order.share, self._order[order.test], order.key)
        self._watch.ordered(self._host)
        with contextlib.suppress(OSError):  # its end is noticed where its messages are read
            self._host.talk.send(order, files)

    def _lend(self, command: s.Lend) -> None:
        value = self._value(command.share)
        phase = self._shares.phase(command.share)
        output, value.output = value.output, _NOTHING
        label = self._shares.share(command.share).label
        if phase is s.Phase.UP:
            assert value.file is not None
            answer = Lent(command.number, has_value=True, output=output)
            self._desk.tell(command.worker, answer, value.file.fileno())
            return
        failure = value.failure
        self._untold.discard(command.share)
        if phase is not s.Phase.FAILED:
            failure = Failure("error", torn_down_already(label))
        elif failure is None or not failure.report:
            why = self._crash or "" if failure is None else failure.text
            failure = Failure("error", not_set_up(label, why))
        self._desk.tell(command.worker, Lent(command.number, output=output, failure=failure), None)

    def _let_go(self, command: s.LetGo) -> None:
        value = self._value(command.share)
        answer = Lent(command.number)
        if command.is_last:
            self._untold.discard(command.share)
            answer = Lent(command.number, output=value.output, failure=value.failure)
        self._desk.tell(command.worker, answer, None)

    def _free(self, share: int) -> None:
        value = self._value(share)
        if value.file is not None:
            value.file.close()
            value.file = None

    # --- its end --------------------------------------------------------------------------------

    def end(self) -> None:
        """There are no workers any more: tear down what stands."""
        while self._untold:
            self._report(self._untold.pop())
        if self._host is not None and not self._is_ending:
            self._is_ending = True
            self._held = None
            self._order_host(m.EndHost())

    def abort(self) -> None:
        """The run is abandoned: there is a little time for teardowns, and then no more."""
        if self._host is None:
            return
        self._broken_off.clear()  # it may have caught the first
        self.interrupt()
        self.end()
        latest = time.monotonic() + PATIENCE
        descriptor = self.fileno()
        while (left := latest - time.monotonic()) > 0:
            if select.select([descriptor], [], [], left)[0] and not self._host.talk.read():
                break
            if any(isinstance(said, m.Goodbye) for said in self._host.talk.waiting()):
                break
        else:
            self._zygote.send(m.Signal(self._host.number, signal.SIGKILL, group=True))

    def close(self) -> None:
        for share in self._values:
            self._free(share)


def _sections(output: Output) -> list[tuple[str, str]]:
    found = [("Captured stdout teardown", output.out), ("Captured stderr teardown", output.err)]
    return [(title, text) for title, text in found if text]
