"""Facts: what happened, told to the scheduler and to every reader of the run.

``at`` is always in seconds of the monotonic clock.
"""

from __future__ import annotations

import msgspec

from pytest_braid.model.needs import Needs


class Event(msgspec.Struct, frozen=True, gc=False, tag=True, kw_only=True):
    """Base of all events; ``tag`` is the class name in a log line."""

    at: float


class WorkerReady(Event, frozen=True, gc=False, kw_only=True):
    """A forked worker is up and will take tests."""

    worker: int


class Started(Event, frozen=True, gc=False, kw_only=True):
    """A worker is about to run a test: it is no longer in the worker's queue. It runs in the main
    thread, or in ``strand`` 1 and so on."""

    worker: int
    test: int
    strand: int = 0


class Asked(Event, frozen=True, gc=False, kw_only=True):
    """A worker found its queue empty and waits for an answer: tests, or the end.

    It may ask in the teardown of a test that is not finished yet (the answer decides which
    fixtures stay), or with nothing running. The question can cross an assignment on its way: it
    asks nothing if tests assigned to the worker are not started yet.
    """

    worker: int


class Finished(Event, frozen=True, gc=False, kw_only=True):
    """A test is over, its teardown included, and all its reports have arrived.

    ``cpu`` are the seconds that its process (its thread, if others ran beside it) and the processes
    that it has started and waited for have computed meanwhile, ``None`` if nobody has looked.
    ``memory`` is by how many bytes the peak of the process's memory has grown. ``waited`` are the
    seconds that it waited for fixtures that others set up, where tests run at once. ``setup``,
    ``call`` and ``teardown`` are the seconds of its reports; ``passed``: so said each of them.
    """

    worker: int
    test: int
    cpu: float | None = None
    memory: int = 0
    waited: float = 0.0
    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    passed: bool = True


class FixtureSetUp(Event, frozen=True, gc=False, kw_only=True):
    """A worker has set up, in ``seconds``, a fixture that tests share, because ``test`` was the
    first there to need it. ``fixture`` is its name as in ``Instance``."""

    worker: int
    test: int
    fixture: str
    seconds: float


class Revoked(Event, frozen=True, gc=False, kw_only=True):
    """The answer to :class:`~pytest_braid.model.commands.Revoke`.

    ``tests`` have been taken back out of the worker's queue, in the order of the queue: the
    worker has not seen them, or has put them aside. It may be empty. What else the worker had
    already taken from its queue stays with it and will be started by it.
    """

    worker: int
    tests: tuple[int, ...]


class WorkerDied(Event, frozen=True, gc=False, kw_only=True):
    """A worker's process ended without having been told to.

    ``running`` is the test that ended it, already failed and reported by the controller, or
    ``None`` if it died between tests, or if that test is to run again. All that it sent before its
    death has been handled; what else was assigned to it has not run. ``is_crash``: it counts
    against ``max_restarts``. It does not where it was killed because its test took too long.

    ``suspects``: the tests that ran, where several did and nobody knows which of them has ended
    the process. None of them has an outcome; each is to run again in a process of its own.
    """

    worker: int
    running: int | None
    is_crash: bool = True
    suspects: tuple[int, ...] = ()


class WorkerGone(Event, frozen=True, gc=False, kw_only=True):
    """The process of a worker that was told to retire has ended, in whatever way."""

    worker: int


class StopRequested(Event, frozen=True, gc=False, kw_only=True):
    """No test may start any more (``-x``, ``--maxfail``, Ctrl-C, ``pytest.exit``)."""

    reason: str


class WorkerStopped(Event, frozen=True, gc=False, kw_only=True):
    """A worker starts nothing more (``-x``: its test failed), which stops the whole run.

    What it has taken from its queue and not started has not run; it reads on only for the order
    to finish, or to retire. A :class:`StopRequested` for the same reason may come before or after,
    or not at all. The tests that are ``running`` beside the one that stops it end all the same.
    """

    worker: int
    running: tuple[int, ...] = ()


class ShareSettled(Event, frozen=True, gc=False, kw_only=True):
    """A fixture that is shared by the run is set up, or will never be: who waits for it may begin,
    and has its value at once, or learns why there is none."""

    share: int


class Measured(Event, frozen=True, gc=False, kw_only=True):
    """What was going on lately, with ``-n adaptive``.

    ``cpu`` is how many cores the workers, and ``busy`` how many all processes of the machine have
    kept busy, of the ``cores`` that the run may use. ``free`` bytes of the machine's ``memory`` can
    be had; ``each`` is the most that a worker has for itself.
    """

    cpu: float
    busy: float
    cores: float
    free: int
    memory: int
    each: int


SchedulerEvent = (
    WorkerReady
    | Started
    | Asked
    | Finished
    | FixtureSetUp
    | Revoked
    | WorkerDied
    | WorkerGone
    | WorkerStopped
    | StopRequested
    | ShareSettled
    | Measured
)


# Facts that only readers of the run need.


class RunStarted(Event, frozen=True, gc=False, kw_only=True):
    """The first line of a log. ``wall`` is the time of day, in seconds since the epoch. Of the
    strands of a worker, 1 to ``threads`` are threads, and the next ``tasks`` are tasks."""

    run: str
    workers: int
    mode: str
    wall: float
    threads: int = 0
    tasks: int = 0

    @property
    def strands(self) -> int:
        """How many tests a worker runs at once."""
        return max(1, self.threads + self.tasks)


class TestsCollected(Event, frozen=True, gc=False, kw_only=True):
    """The tests, in the order in which ``test`` counts them.

    In mode ``each`` it counts on through one more copy of them for each further worker. ``asides``
    are the reasons of those that step aside, where tests run at once; ``needs`` is what those need
    that need more than a worker.
    """

    nodeids: tuple[str, ...]
    asides: tuple[str | None, ...] = ()
    needs: dict[int, Needs] = {}


class Reported(Event, frozen=True, gc=False, kw_only=True):
    """A phase of a test is over. ``duration`` is in seconds."""

    worker: int
    test: int
    when: str
    outcome: str
    duration: float


class LoopBlocked(Event, frozen=True, gc=False, kw_only=True):
    """A test has kept all others of its event loop waiting, for so many seconds. ``stack`` is where
    it was then, a line for each frame of the project."""

    worker: int
    test: int
    seconds: float
    stack: tuple[str, ...]


class WorkerEnded(Event, frozen=True, gc=False, kw_only=True):
    """A worker's session is over, and it has said goodbye."""

    worker: int


class RunEnded(Event, frozen=True, gc=False, kw_only=True):
    """The last line of a log. ``unfinished`` are the tests without an outcome."""

    unfinished: tuple[int, ...]


RunEvent = (
    SchedulerEvent | RunStarted | TestsCollected | Reported | LoopBlocked | WorkerEnded | RunEnded
)
