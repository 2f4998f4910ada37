"""Every message between the processes of a run, one tagged union per direction.

::

    CONTROLLER ── ToZygote ──▶ ZYGOTE        one socket; FromZygote comes back on it
        │  ▲
        │  ├──── FromWorker ── WORKER        a socket per worker
        ├── test indices ────▶ WORKER        a pipe per worker (see ``queue``)
        └──── ToHost ────────▶ FIXTURE HOST  one socket; FromHost comes back on it

``at`` is in seconds of the monotonic clock, which all processes of a machine share. ``bytes``
fields named ``packed`` hold values encoded by :mod:`pytest_braid.wire.values`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_braid.model import board, holders
from pytest_braid.model.board import Answer
from pytest_braid.model.needs import PLAIN, Needs
from pytest_braid.model.shares import Borrow, Failure, Lent, Output, Return, Share


class Message(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Base of all messages."""


# --- controller to zygote ---------------------------------------------------------------------


class Configure(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The controller has configured itself: do so too. Never both at once: plugins make directories
    and files where they find none."""


class Collect(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Go on through pytest's session as a worker would, and collect.

    ``packed`` is the ``workerinput`` that plugins see before the workers exist; ``basetemp`` the
    directory below which each worker makes its own.
    """

    packed: bytes
    basetemp: str


class Fork(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Make worker number ``worker``. Its descriptors travel with this message (``WorkerKit``).

    ``packed`` is its ``workerinput`` where it is forked, a :class:`Launch` where it is spawned.
    ``mark`` is what it puts into its live output (``worker.live``); empty if it has none.
    """

    worker: int
    slot: int
    packed: bytes
    mark: bytes = b""


class Signal(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Send a signal to a worker if it is still there (only its parent knows for sure)."""

    worker: int
    signum: int
    group: bool


class Shutdown(Message, frozen=True, gc=False, tag=True, array_like=True):
    """All workers are gone: unconfigure and end."""


ToZygote = Configure | Collect | Fork | Signal | Shutdown


class Launch(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a new interpreter must be told to be a worker of this run.

    ``flags`` are the interpreter's, ``args`` pytest's, ``argv`` and ``path`` for ``sys``; ``args``
    and those are encoded by ``wire.values``, as is ``environment``: they need not be text.
    ``hash_seed`` is common to all workers, so that they hash alike as forked ones do, and sets have
    one order in all of them. ``basetemp`` is that of the run; ``markup`` says whether texts are
    rendered with colours. ``is_reference``: what it collects is the run's collection; otherwise it
    is only compared. Who starts it fills in ``number``, ``mark`` (as in ``Fork``), ``parent`` (a
    process id) and ``kit`` (``WorkerKit``).
    """

    flags: tuple[str, ...]
    start: bytes
    """``args``, ``argv`` and ``path``."""
    folder: str
    environment: bytes
    hash_seed: str
    workerinput: bytes
    basetemp: str
    markup: bool
    is_reference: bool
    number: int = 0
    mark: bytes = b""
    parent: int = 0
    kit: tuple[int, ...] = ()


# --- zygote to controller ---------------------------------------------------------------------


class Test(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What the controller must know of one collected test.

    ``location`` as in pytest's items; ``own_process``: it has the mark ``forked``; ``group`` of its
    ``xdist_group`` marks (and ``mp_group``) where ``--dist loadgroup`` asks for it; ``timeout``:
    the seconds that its mark of this name gives, 0 for no limit; ``needs`` as its marks say,
    whether there is so much or not; ``mp`` its group and strategy (``mp_group_info``); ``aside``:
    why nothing may run beside it in its worker, where others do; ``fixtures``: the numbers of the
    instances that it shares with others; ``shares``: those of the fixtures that the run shares;
    ``may_ask``: it, or a fixture of its, could ask for others by name; ``uses``: the fixtures that
    it may ask for whose values the processes of the run have in common (``model.holders``).
    """

    nodeid: str
    location: tuple[str, int | None, str]
    own_process: bool = False
    group: str | None = None
    timeout: float | None = None
    needs: Needs = PLAIN
    mp: tuple[str, str] | None = None
    aside: str | None = None
    fixtures: tuple[int, ...] = ()
    shares: tuple[int, ...] = ()
    may_ask: bool = False
    uses: tuple[str, ...] = ()


class CollectReported(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A collection report that failed, was skipped, or is needed by ``--last-failed``.

    ``children`` are the node ids of the tests directly below the collector; ``shown`` as in
    :class:`Report`.
    """

    packed: bytes
    children: tuple[str, ...]
    shown: str | None


class Deselected(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Tests were deselected."""

    nodeids: tuple[str, ...]


class Collected(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The collection is complete.

    ``found`` counts the tests before deselection; ``lines`` is what plugins want printed below
    the count; ``stepwise`` the number of tests that ``--stepwise`` remembers. ``instances`` are
    those of fixtures that tests share: the fixture, and whether it has parameters. ``shares`` are
    the fixtures that the whole run shares. ``keeps_order``: the project has put its tests in order.
    ``first``: so many come before all others, as the user wants it (``--ff``, ``--nf``).
    """

    tests: tuple[Test, ...]
    found: int
    lines: tuple[str, ...]
    stepwise: int | None
    instances: tuple[tuple[str, bool], ...] = ()
    shares: tuple[Share, ...] = ()
    keeps_order: bool = False
    first: int = 0


class Waiting(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The collection has ended in order, and the zygote waits for the first order to fork.

    :class:`Collected` comes before, and even if the collection was broken off. ``reasons`` are
    those against a fork: what the session holds that copies cannot share, each naming one thing.
    ``doubts`` are of what the project does that would be done once in each copy; ``asked`` is what
    was asked for that the workers' identity would answer, and where.
    """

    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    asked: dict[str, str]


class Exited(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A worker's process is gone. ``status`` as ``os.waitstatus_to_exitcode`` gives it."""

    worker: int
    status: int


class UsageFailed(Message, frozen=True, gc=False, tag=True, array_like=True):
    """``pytest.UsageError`` while configuring, while collecting, or from a hook around a test."""

    texts: tuple[str, ...]


class ZygoteEnded(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The last message of a zygote. ``packed`` is its ``workeroutput`` if no worker was forked."""

    exitstatus: int
    packed: bytes | None


# --- worker (and zygote) to controller ---------------------------------------------------------


class Ready(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The worker, process ``pid``, will read its queue."""

    at: float
    pid: int = 0


class Begun(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The worker is about to run a test: in the main thread, or in ``strand`` 1 and so on."""

    test: int
    at: float
    strand: int = 0


class Extended(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A test is given so many seconds from now on: it has waited for what is not its own."""

    test: int
    seconds: float


class LoopBlocked(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A test has kept all others of its event loop waiting, for so long. ``stack`` is where it was
    then, a line for each frame of the project."""

    test: int
    seconds: float
    stack: tuple[str, ...]


class Asking(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The worker's queue is empty and it waits."""

    at: float


class PlainReport(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A report without traceback or foreign attributes, rebuilt without the serialisation hooks.

    ``keywords`` come with the first report of a test only. ``skip`` is pytest's
    ``(path, line, reason)`` of a skipped test.
    """

    test: int
    when: Literal["setup", "call", "teardown"]
    outcome: Literal["passed", "skipped"]
    duration: float
    start: float
    stop: float
    sections: tuple[tuple[str, str], ...]
    keywords: dict[str, int] | None
    skip: tuple[str, int, str] | None


class Report(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Any other report, as pytest's serialisation hooks made it.

    ``shown`` is what its representation writes to the terminal, if they send only its text;
    ``failed_subtests`` how many of the test's subtests have failed so far.
    """

    test: int
    packed: bytes
    shown: str | None
    failed_subtests: int


class JunitNoted(Message, frozen=True, gc=False, tag=True, array_like=True):
    """What was recorded for the junit file: attributes of the running test, and properties of the
    whole run (name, value, which time it is that this worker records them). ``test`` is ``None``
    after the last. ``highest`` is that of the tests that this worker has run which a serial run
    would have run last."""

    test: int | None
    highest: int
    in_teardown: bool
    attributes: dict[str, str]
    properties: tuple[tuple[str, str, int], ...]


class Warned(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A recorded warning. ``bases`` are the dotted names of its class's ancestors, itself first;
    ``has_source`` says that it is of an object (a file not closed) of unknown origin."""

    text: str
    bases: tuple[str, ...]
    filename: str | None
    lineno: int | None
    line: str | None
    has_source: bool
    when: Literal["config", "collect", "runtest"]
    nodeid: str
    location: tuple[str, int, str] | None


class Done(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The test is over, its teardown included. Its warnings follow, as in a serial run. ``cpu``,
    ``memory`` and ``waited`` as in the event."""

    test: int
    at: float
    cpu: float | None = None
    memory: int = 0
    waited: float = 0.0


class FixtureMade(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A fixture that tests share has been set up for this one, in so many seconds."""

    test: int
    fixture: str
    seconds: float
    at: float


class Stopping(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The worker's own session wants to stop (``-x``, ``session.shouldstop``)."""

    shouldfail: str | None
    shouldstop: str | None


class Interrupted(Message, frozen=True, gc=False, tag=True, array_like=True):
    """``KeyboardInterrupt`` or ``pytest.exit`` ended the session.

    ``text`` is the exception's; ``crash`` where it was raised, with pytest's line about it;
    ``shown`` what ``--full-trace`` shows. Without a place nothing but the user interrupted.
    """

    kind: Literal["exit", "keyboard"]
    text: str
    returncode: int | None
    crash: tuple[str, int, str] | None
    shown: str


class InternalFailed(Message, frozen=True, gc=False, tag=True, array_like=True):
    """An internal error of pytest or a plugin; ``text`` is pytest's rendering."""

    text: str


class Asks(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A test asks the board of the run (``model.board``), or of a value that its processes have in
    common (``model.holders``), or for a shared fixture, of which ``test`` is to have the value;
    answered by :class:`Told`, the only message to a worker that is no test."""

    question: board.Question | holders.Question | Borrow | Return
    test: int | None = None


class Recollected(Message, frozen=True, gc=False, tag=True, array_like=True):
    """What a spawned worker has collected, whose collection is not that of the run."""

    nodeids: tuple[str, ...]


class Goodbye(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The last message of a worker: its ``workeroutput``.

    ``retires``: it was told to retire, and has torn everything down; the session of its slot goes
    on in a successor.
    """

    packed: bytes
    retires: bool


class Told(Message, frozen=True, gc=False, tag=True, array_like=True):
    """The answer to what a worker asked. The file of a value travels with it."""

    answer: Answer | Lent


# --- controller to fixture host, and back ------------------------------------------------------


class SetUp(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Set up number ``share``, the fixture of this key, as for this test of the run's collection.
    The file for its value travels with it."""

    share: int
    test: int
    key: str


class TearDown(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Tear it down."""

    share: int


class EndHost(Message, frozen=True, gc=False, tag=True, array_like=True):
    """Tear down what stands, the latest first, and end."""


ToHost = SetUp | TearDown | EndHost


class IsUp(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A shared fixture is set up, and its value in the file; or it has failed."""

    share: int
    output: Output
    failure: Failure | None


class IsDown(Message, frozen=True, gc=False, tag=True, array_like=True):
    """A shared fixture is torn down, which may have failed."""

    share: int
    output: Output
    failure: Failure | None


FromZygote = (
    CollectReported
    | Deselected
    | Collected
    | Waiting
    | Exited
    | UsageFailed
    | ZygoteEnded
    | Warned
    | Interrupted
    | InternalFailed
)

FromWorker = (
    Ready
    | Begun
    | Extended
    | LoopBlocked
    | Asking
    | PlainReport
    | Report
    | JunitNoted
    | Warned
    | Done
    | FixtureMade
    | Asks
    | Stopping
    | Interrupted
    | UsageFailed
    | InternalFailed
    | Goodbye
    # of spawned ones
    | CollectReported
    | Deselected
    | Collected
    | Waiting
    | Recollected
)

FromHost = (
    IsUp
    | IsDown
    | Warned
    | Goodbye
    # of a spawned one
    | UsageFailed
    | Interrupted
    | InternalFailed
    | CollectReported
    | Deselected
    | Recollected
)
