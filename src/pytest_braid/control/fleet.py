"""The processes of a run, seen from the controller: handles, descriptors, how they ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from pytest_braid.control.child import Child, nameless_files
from pytest_braid.control.interrupts import interrupts_held
from pytest_braid.control.stacks import own_frames, thread_first
from pytest_braid.model.limits import Limit
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, WorkerKit, new_mark
from pytest_braid.wire.queue import QueueWriter, keep_for

if TYPE_CHECKING:
    from pytest_braid.control.live import Live
from pytest_braid.wire.values import pack

_OUTCOMES = {"passed", "failed", "skipped"}
"""pytest's. Plugins have others, such as "rerun", after which a test goes on."""

_TAIL = 4000
"""Characters of a dead process's output that a report shows: the last ones."""

_DESCRIPTORS = 24
"""Descriptors that a worker costs the controller, and its successor while both are known."""

_DUMP = 1 << 20
"""Bytes of faulthandler's dumps that are read; one is of a hundred threads at most."""

_PRINTED = 20000
"""Characters that an error shows of the zygote's output, or of what was meant for a terminal: the
last ones."""


class Zygote:
    """The process that collects and forks. It is this process's only child."""

    def __init__(self, child: Child, live: Live) -> None:
        self.pid = child.pid
        self.live = live
        self.channel: Channel[m.FromZygote] = Channel(child.socket, m.FromZygote)
        self._wait = child.wait
        self._files = child.files
        self._place = child.place
        (self._tally,) = nameless_files(1)
        self.status: int | None = None
        """How it ended, as ``os.waitstatus_to_exitcode`` gives it; ``None`` while it lives."""

    def launch(self, number: int, slot: int, node: Any) -> Worker:
        """Have a worker made."""
        worker = Worker(number, slot, node, is_live=self.live.is_on)
        self.live.listen_to(worker)
        worker.start(self, self.packed(number, node), self._tally.fileno())
        return worker

    def launch_host(self, number: int, node: Any) -> Host:
        """Have a fixture host made, which is a worker without a queue. Its number is negative."""
        host = Host(number, node, is_live=self.live.is_on)
        self.live.listen_to(host)
        host.start(self, self.packed(number, node), self._tally.fileno())
        return host

    def packed(self, number: int, node: Any) -> bytes:  # noqa: ARG002 -- the spawner asks for it
        """What a new worker is told."""
        return pack(node.workerinput)

    def send(self, message: m.ToZygote, descriptors: tuple[int, ...] = ()) -> None:
        """Send, unless it is dead: its end is noticed where its messages are read."""
        with interrupts_held(), contextlib.suppress(OSError):
            self.channel.send(message, descriptors)

    def interrupt(self, workers: Iterable[int]) -> None:
        """Send SIGINT to these workers."""
        for number in workers:
            self.send(m.Signal(number, signal.SIGINT, group=False))

    def signal(self, signum: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    # --- the collection -----------------------------------------------------------------------

    def collected(self) -> m.FromZygote | m.FromWorker | None:
        """What the process that collects says next; ``None`` when it is gone."""
        return self.channel.receive()

    def break_off(self) -> None:
        """Interrupt the collection."""
        self.signal(signal.SIGINT)

    def collector(self) -> Death:
        """How the process that collects has ended."""
        return Death(self.wait(), self._place.get(), self.printed())

    # --- its end ------------------------------------------------------------------------------

    def kill_spares(self) -> None:
        """Kill workers that wait for their first test, if it has such."""

    def shut_down(self) -> None:
        """Let it end when its workers have."""
        self.send(m.Shutdown())

    def last_messages(self) -> Iterator[tuple[int, m.FromZygote | m.FromWorker]]:
        """What it says, as worker of slot 0, until its end or until nobody listens any more."""
        while (said := self._receive()) is not None:
            yield 0, said

    def _receive(self) -> m.FromZygote | None:
        """Meanwhile its last workers may print what they have left."""
        if not self.channel.arrived():
            self.live.wait_for(self.channel.fileno())
        return self.channel.receive()

    def wait(self) -> int:
        """Reap it, waiting for its end."""
        if self.status is None:
            self.status = self._wait()
        return self.status

    def abandon(self) -> None:
        """Kill it if nobody has ended it: pytest's session never began, because a plugin answered
        ``pytest_cmdline_main`` itself."""
        if self.status is None:
            self.signal(signal.SIGKILL)
            self.wait()
            self.close()

    def printed(self) -> str:
        """What it printed last, captured or not, and faulthandler's dump."""
        return "\n".join(filter(None, (_tail(file, _PRINTED) for file in self._files)))

    def close(self) -> None:
        self.live.close()
        self.channel.close()
        self._place.close()
        for file in (*self._files, self._tally):
            file.close()


class Death(NamedTuple):
    """How a process ended, as ``os.waitstatus_to_exitcode`` gives it; what it was collecting; and
    what it had printed."""

    status: int
    place: str
    printed: str


class Duty(Enum):
    """What a worker was told to do last."""

    TESTS = "run tests"
    FINISHING = "end the session of its slot"
    RETIRING = "end, and leave the session to a successor"
    RETIRED = "it has done so, and its process ends"


class Underway(msgspec.Struct, eq=False):
    """A test that a worker has begun and not ended."""

    test: int
    since: float
    """When it began, in seconds of the monotonic clock."""
    outcome: str | None = None
    """If it has one, and only its teardown is to come."""
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    """Seconds that its reports tell."""
    passed: bool = True
    """Whether each of them says so."""

    def note(self, report: pytest.TestReport) -> None:
        """Take in a report."""
        when, outcome = report.when, report.outcome
        duration: object = report.duration  # whatever a plugin has made of it
        seconds = duration if isinstance(duration, int | float) else 0.0
        if when == "setup":
            self.setup += seconds
        elif when == "call":
            self.call += seconds
        elif when == "teardown":
            self.teardown += seconds
        if outcome != "passed":
            self.passed = False
        if (when == "call" or outcome != "passed") and not hasattr(report, "context"):
            self.outcome = outcome if outcome in _OUTCOMES else None


class Overrun(NamedTuple):
    """What is remembered of a worker whose time was up, from the moment when its end began."""

    limit: Limit
    test: int | None
    """The test whose time it was."""
    printed: list[tuple[str, str]]
    """Report sections: what its running phase had printed."""
    dumped: int
    """The size of its faulthandler file before it was asked for its stacks."""


class Worker:
    """One worker, its descriptors (``wire.kit``), and what is known of it.

    It has tests of its own numbers. Where it runs another copy of the collection than the first
    (``--dist each``), or has collected the tests in another order than the run's (spawned), the
    controller's numbers are others, and here is where the one is made of the other.
    """

    def __init__(self, number: int, slot: int, node: Any, *, is_live: bool = False) -> None:
        self.number = number
        self.slot = slot
        self.node = node
        self.tests = 0
        """How many tests the run's collection has, as soon as that is known."""
        self._first = 0
        """The controller's number of the first test in the copy that it runs."""
        self._order: list[int] | None = None
        """The run's numbers of its tests, in its own order, if that is another."""
        self._own: list[int] = []
        self._held: list[int] | None = None
        self.queue = QueueWriter()
        ours, self._theirs = socket.socketpair()
        self.channel: Channel[m.FromWorker] = Channel(ours, m.FromWorker)
        self._out, self._err, self._fault, self._screen, self._shared = nameless_files(5)
        self._claim = Claim(self._shared.fileno())
        self.mark = new_mark() if is_live else b""
        """What it puts into its live output (``worker.live``)."""
        pipes = [os.pipe() for _ in range(2)] if is_live else []
        self.printed = [reading for reading, _ in pipes]
        """Where its live output is read: of stdout, of stderr. Whoever reads closes them."""
        self._printing = [writing for _, writing in pipes]
        self.queued = 0
        """Tests given to it that it has not begun."""
        self.last_test: int | None = None
        """The test that it has begun last."""
        self.underway: dict[int, Underway] = {}
        self.duty = Duty.TESTS
        self.is_ready = False
        """Whether it has said that it will take tests."""
        self.overrun: Overrun | None = None
        """Set once its time is up. What it says from then on is nobody's business any more."""

    @property
    def name(self) -> str:
        return f"gw{self.slot}"

    def start(self, zygote: Zygote, packed: bytes, tally: int) -> None:
        files = (self._theirs, self._out, self._err, self._fault, self._screen, self._shared)
        queues = (self.queue.reading_end, *self.queue.asides)
        kept = (*queues, *(file.fileno() for file in files), tally)
        order = m.Fork(self.number, self.slot, packed, self.mark)
        zygote.send(order, WorkerKit(*kept, *self._printing).descriptors())
        self._theirs.close()
        for descriptor in self._printing:
            os.close(descriptor)

    def hold(self) -> None:
        """Keep back what is assigned, until it is known which tests it has (:meth:`settle`)."""
        self._held = []

    def settle(self, order: list[int] | None) -> None:
        """It has collected the run's tests, in another order perhaps: ``order[i]`` is the run's
        number of its test ``i``."""
        if order is not None:
            self._order = order
            self._own = [0] * len(order)
            for own, test in enumerate(order):
                self._own[test] = own
        held, self._held = self._held, None
        if held:
            self._put(held)

    def assign(self, tests: Sequence[int]) -> None:
        """Append tests, all of one copy of the collection, to its queue."""
        self._first = tests[0] - tests[0] % self.tests
        self.queued += len(tests)
        if self._held is not None:
            self._held += tests
        else:
            self._put(tests)

    def keep(self, until: int | None) -> None:
        """Let it wait, who has asked, with what test ``until`` needs, or with what is of the
        session."""
        own = None if until is None else until % self.tests
        if own is not None and self._order is not None:
            own = self._own[own]
        self.queue.put((keep_for(own),))

    def _put(self, tests: Sequence[int]) -> None:
        own = (test - self._first for test in tests)
        self.queue.put(own if self._order is None else (self._own[test] for test in own))

    def take_back(self, *, asides: bool) -> tuple[int, ...]:
        """Empty its queue: the tests that it has not seen, and those that it has put aside."""
        if self._held is not None:
            tests, self._held = tuple(self._held), []
        else:
            tests = tuple(map(self._number, self.queue.take_back(asides=asides)))
        self.queued -= len(tests)
        return tests

    def said(self) -> Iterable[m.FromWorker]:
        """The messages that have arrived from it, without waiting."""
        messages = self.channel.waiting()
        if self._order is None and not self._first and self._held is None:
            return messages
        return map(self._renumbered, messages)  # one of them may say that it has another order

    def _renumbered(self, message: m.FromWorker) -> m.FromWorker:
        test: int | None = getattr(message, "test", None)
        if test is None or (self._order is None and not self._first):
            return message
        return replace(message, test=self._number(test))

    def _number(self, own: int) -> int:
        """The controller's number of its test."""
        return self._first + (own if self._order is None else self._order[own])

    def begin(self, test: int, at: float) -> None:
        """It has begun a test."""
        self.last_test = test
        self.underway[test] = Underway(test, at)
        self.queued -= 1

    def claimed(self) -> list[int]:
        """The tests that it has begun last, in each of its strands, when it was last seen alive."""
        return [self._number(test) for test in self._claim.get()]

    def place(self) -> str:
        """The node id of what it began to collect last, if it collects for itself."""
        return self._claim.place.get()

    def _printed(self) -> list[tuple[str, str]]:
        return _with_text(
            [
                ("Captured stdout", _tail(self._out, _TAIL)),
                ("Captured stderr", _tail(self._err, _TAIL)),
            ]
        )

    def last_words(self) -> list[tuple[str, str]]:
        """Report sections: what its running phase had printed, and faulthandler's dump."""
        if self.overrun is not None:
            return _with_text([*self.overrun.printed, ("Stacks of all threads", self.stacks())])
        return _with_text(
            [
                *self._printed(),
                ("Written to the terminal", _tail(self._screen, _PRINTED)),
                ("Fatal error (faulthandler)", own_frames(self._dump(0))),
            ]
        )

    def condemn(self, limit: Limit, test: int | None) -> None:
        """Its time is up: from here on it is about to die, and begins no other test."""
        dumped = os.fstat(self._fault.fileno()).st_size
        self.overrun = Overrun(limit, test, self._printed(), dumped)
        self._claim.forbid()

    def stacks(self) -> str:
        """What it has dumped since its time was up, the thread first that runs the test; empty if
        it could not."""
        assert self.overrun is not None
        threads = {self._number(test): thread for test, thread in self._claim.get().items()}
        thread = threads.get(-1 if self.overrun.test is None else self.overrun.test, 0)
        return own_frames(thread_first(self._dump(self.overrun.dumped), thread))

    def _dump(self, start: int) -> str:
        return os.pread(self._fault.fileno(), _DUMP, start).decode(errors="replace")

    def close(self) -> None:
        self.channel.close()
        self.queue.close()
        self._claim.close()
        for file in (self._out, self._err, self._fault, self._screen, self._shared):
            file.close()


class Host(Worker):
    """The process in which fixtures are set up that the run shares."""

    def __init__(self, number: int, node: Any, *, is_live: bool = False) -> None:
        super().__init__(number, -1, node, is_live=is_live)
        self.talk: Channel[m.FromHost] = Channel(self.channel.socket, m.FromHost)

    @property
    def name(self) -> str:
        return HOST

    def break_off(self, share: int) -> None:
        """It is not to set this share up, and is about to be interrupted if it does."""
        self._claim.break_off(share)


HOST = "shared"
"""What is called so in place of a worker's name: by the fixture ``worker_id``, and in messages."""


def _with_text(sections: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(title, text) for title, text in sections if text]


def _tail(file: IO[bytes], length: int) -> str:
    size = os.fstat(file.fileno()).st_size
    data = os.pread(file.fileno(), 4 * length, max(0, size - 4 * length))
    return data.decode(errors="replace")[-length:]


def make_room(workers: int) -> None:
    """Raise this process's own limit of open files, if the descriptors of so many workers would
    not fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 128 + _DESCRIPTORS * workers
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def describe_end(status: int) -> str:
    """In words: how a process ended that nobody had told to."""
    if status >= 0:
        return f"its process ended with exit code {status}"
    number = -status
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    hint = (
        "; often the kernel sends it, because memory has run out"
        if number == signal.SIGKILL
        else ""
    )
    return f"its process was killed by signal {number} ({name}{hint})"
