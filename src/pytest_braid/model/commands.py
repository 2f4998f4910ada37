"""Decisions: what the scheduler wants done. The controller carries them out in order."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Base of all commands."""


class StartWorker(Command, frozen=True, gc=False):
    """Fork worker number ``worker``. Numbers are never used twice: a successor gets a new one.

    ``slot`` is the number in the worker's name (``gw3``). A worker that was told to
    :class:`Retire` leaves its slot to its successor; that of a crashed worker gets a new slot, so
    that it meets nothing of what the crash has left behind. One live worker is in a slot at most.
    By default the slot is the worker's number: so it is where nobody retires.
    """

    worker: int
    slot: int = -1

    def __post_init__(self) -> None:
        """Fill in the slot."""
        if self.slot < 0:
            msgspec.structs.force_setattr(self, "slot", self.worker)


class Assign(Command, frozen=True, gc=False):
    """Append ``tests`` to the worker's queue."""

    worker: int
    tests: tuple[int, ...]


class Revoke(Command, frozen=True, gc=False):
    """Take back what still lies in the worker's queue, and what it has put aside (``asides``);
    answered at once by ``Revoked``."""

    worker: int
    asides: bool = False


class End(Command, frozen=True, gc=False):
    """Answer an ``Asked``: nothing more is meant for you; tear everything down.

    The worker stays and waits: it is assigned tests again (after a crash elsewhere), or it is
    told to :class:`Finish` or to :class:`Retire`.
    """

    worker: int


class Keep(Command, frozen=True, gc=False):
    """Answer an ``Asked``: nothing for you now; tear down what test ``until`` does not need.

    Without it: all but what is of the session. The worker stays and waits: it is assigned tests,
    or told that there are none (:class:`End`), and tears down the rest.
    """

    worker: int
    until: int | None


class Wait(Command, frozen=True, gc=False):
    """Nothing is to be done: a worker was there for a test, but not all that it needs.

    ``what`` it lacks, in words; ``by`` are the tests that have it, or that come first.
    """

    test: int
    what: str
    by: tuple[int, ...]


class Finish(Command, frozen=True, gc=False):
    """The run is over: end the session of this worker and the worker, the last of its slot."""

    worker: int


class Retire(Command, frozen=True, gc=False):
    """End the worker, but not its session: another one takes over its slot.

    It has no test, and has torn everything down (it was told to :class:`End`) unless it asked with
    nothing running. :class:`~pytest_braid.model.events.WorkerGone` answers.
    """

    worker: int


class GiveUp(Command, frozen=True, gc=False):
    """Too many workers crashed, of which ``restarts`` were replaced, and tests are left: the run
    ends with this reported. Stopping follows as commands."""

    restarts: int


SchedulerCommand = StartWorker | Assign | Revoke | End | Keep | Wait | Finish | Retire | GiveUp
