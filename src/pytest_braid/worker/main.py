"""The main strand: pytest's own protocol, one test after another, in a forked worker."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from pytest_braid.seam import session as session_seam
from pytest_braid.seam.hooks import decide_nextitem, remember_hooks
from pytest_braid.wire import messages as m
from pytest_braid.wire.kit import Claim
from pytest_braid.wire.queue import END, FINISH, KEEP, RETIRE, QueueReader, kept_for
from pytest_braid.wire.values import pack
from pytest_braid.worker.limit import Limit
from pytest_braid.worker.speech import Reporter, ignore_interrupts


class Successor:
    """Stands in for ``nextitem``, which is not decided before someone looks.

    pytest names the next test when a test *starts* and uses it when the test is torn down. A test
    that runs for a minute would so hold its successor for a minute. This object is passed
    instead; the first look at it takes the next test from the queue, or asks for one. It is false
    if there is none, and otherwise answers as the item does. The hooks of the teardown get what
    it stands for (``seam.hooks``), because ``nextitem is None`` cannot be answered by a stand-in.
    """

    __slots__ = ("_item", "_strand", "current", "record")

    def __init__(self, strand: MainStrand, current: pytest.Item) -> None:
        self._strand = strand
        self.current = current
        self._item: pytest.Item | pytest.Collector | None = None
        self.record: int | None = None
        """What was taken from the queue, once someone has looked."""

    def look(self) -> pytest.Item | pytest.Collector | None:
        if self.record is None:
            self.record = self._strand.take_in_teardown()
            if self.record >= 0:
                self._item = self._strand.items[self.record]
            elif self.record <= KEEP:
                self._item = self._strand.kept(self.record)
            if self._item is self.current:
                # A plugin put one item into the collection twice, apart from itself. Here it is
                # its own neighbour; pytest would not tear it down, and not set it up again.
                self._item = self.current.parent  # it has what is asked
        return self._item

    def __bool__(self) -> bool:
        return self.look() is not None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.look(), name)

    def __eq__(self, other: object) -> bool:
        return self is other or self.look() == other

    def __hash__(self) -> int:
        return hash(self.look())

    def __repr__(self) -> str:
        return "<Successor: not decided>" if self.record is None else repr(self._item)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """So that ``isinstance(nextitem, pytest.Item)`` holds where it would in a serial run."""
        return type(self.look())


class MainStrand:
    """Takes tests from the queue until the run is over, or until it is to retire."""

    def __init__(
        self,
        session: pytest.Session,
        queue: QueueReader,
        claim: Claim,
        reporter: Reporter,
        limit: Limit,
    ) -> None:
        self.items = session.items
        self._session = session
        self._queue = queue
        self._claim = claim
        self._reporter = reporter
        self._limit = limit
        self._left: pytest.Item | None = None
        """The test that was the last when the worker was told to keep fixtures for others."""
        self.retires = False
        """Whether another worker takes over its slot, and with it the session."""
        decide_nextitem(session.config, _decided)
        remember_hooks(session)

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Around the tests: tell what ends the session without any hook being called for it."""
        try:
            yield
        except pytest.UsageError as error:
            self._reporter.speech.say(m.UsageFailed(tuple(map(str, error.args))))
            raise
        except self._session.Failed as error:
            self._reporter.speech.say(m.Stopping(str(error), None))
            raise

    def tests(self) -> Iterator[tuple[pytest.Item, Any]]:
        """Each test with its ``nextitem``, to be run by whoever asks, until the run is over."""
        self._reporter.speech.say(m.Ready(self._reporter.clock(), os.getpid()))
        record = self._take()
        while record not in (FINISH, RETIRE):
            if record < 0:
                record = self._pause(record)
            elif self._limit.is_reached() or self._claim.is_forbidden():
                record = self._stop()
            else:
                successor = self._begin(record)
                yield self.items[record], successor
                record = self._next(successor)
        self.retires = record == RETIRE

    def take_in_teardown(self) -> int:
        before = self._reporter.clock()
        record = self._take()
        self._reporter.waited += self._reporter.clock() - before
        return record

    def kept(self, record: int) -> pytest.Item | pytest.Collector:
        """What stands in for the next test while that is to be waited for."""
        until = kept_for(record)
        return self._session if until is None else self.items[until]

    def _pause(self, record: int) -> int:
        """There is nothing to run: for the time being, or (``END``) at all."""
        if record == END:
            self._tear_down_rest()
        return self._wait()

    def _tear_down_rest(self) -> None:
        """What was kept for a next test. If that fails, it is told of the last one, as it would be
        in a serial run."""
        item, self._left = self._left, None
        if item is None:
            return
        call = pytest.CallInfo.from_call(
            lambda: session_seam.tear_down(self._session),
            "teardown",
            reraise=(pytest.exit.Exception,),
        )
        if call.excinfo is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)

    def _take(self) -> int:
        return self._queue.take(self._ask)

    def _wait(self) -> int:
        self._reporter.speech.flush()
        return self._queue.wait()

    def _ask(self) -> None:
        self._reporter.speech.say(m.Asking(self._reporter.clock()))

    def _begin(self, test: int) -> Successor:
        self._left = None
        self._reporter.begin(test)
        self._claim.set(test)  # or, killed in between, the last test would be told as not over
        return Successor(self, self.items[test])

    def _next(self, successor: Successor) -> int:
        self._reporter.done()
        self._limit.note(successor.current)
        if successor.record is not None and successor.record <= KEEP:
            self._left = successor.current
        if self._session.shouldfail or self._session.shouldstop:
            return self._stop()
        return self._take() if successor.record is None else successor.record

    def _stop(self) -> int:
        """Start nothing more (``-x``); the controller takes the rest of the queue back. It finds
        the reason itself where it lies in the failures of all workers. Told to retire, this one is
        the last of its slot all the same: a run that stops starts no other."""
        self._say_stopping()
        while self._wait() not in (FINISH, RETIRE):
            pass
        return FINISH

    def _say_stopping(self) -> None:
        session = self._session
        reasons = _reason(session.shouldfail), _reason(session.shouldstop)
        self._reporter.speech.say(m.Stopping(*reasons))


def _decided(nextitem: Any) -> Any:
    return nextitem.look() if type(nextitem) is Successor else nextitem


def _reason(stop: bool | str) -> str | None:
    return str(stop) if stop else None


Farewell = Callable[[m.Goodbye, int], NoReturn]
"""Says the last message of a worker, and ends its process with an exit code."""

_IN_ORDER = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
"""How pytest ends a session that nothing has interrupted."""


class LastWord:
    """Ends the worker when pytest's session ends: the outermost wrapper of its last hook.

    It does not return into pytest, which would go on to ``pytest_unconfigure`` (where the worker is
    forked, that is the zygote's to call) and then into whatever called pytest. A worker that
    retires, and shares its session with its successors because it is forked, goes no further than
    here: the session ends, once, in the last worker of the slot. ``farewell`` ends the process.
    """

    def __init__(
        self,
        reporter: Reporter,
        strand: MainStrand,
        output: dict[str, Any],
        cleanups: Callable[[], None],
        farewell: Farewell,
        *,
        shares_session: bool,
    ) -> None:
        self._farewell = farewell
        self._shares_session = shares_session
        self._reporter = reporter
        self._strand = strand
        self._output = output
        self._cleanups = cleanups

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, object, object]:
        self._reporter.speech.end_copies()
        ignore_interrupts()  # what follows is the teardown
        code = 0
        retires = self._strand.retires and exitstatus in _IN_ORDER
        try:
            if retires and self._shares_session:
                session_seam.leave(session, exitstatus)
            else:
                yield
            self._cleanups()
        except BaseException:  # noqa: BLE001 -- whatever it was, the worker ends here
            self._reporter.speech.hold(m.InternalFailed(traceback.format_exc()))
            code, retires = 1, False
        finally:
            self._output["exitstatus"] = int(exitstatus)
            self._output["shouldfail"] = session.shouldfail
            self._output["shouldstop"] = session.shouldstop
            self._reporter.tell_notes(is_last=True)
            self._farewell(m.Goodbye(pack(self._output), retires), code)
