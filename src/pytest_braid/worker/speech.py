"""What a worker (or the zygote) says to the controller: hooks of pytest turned into messages."""

from __future__ import annotations

import contextlib
import copy
import linecache
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator
from math import inf
from typing import Any, Literal

import msgspec
import pytest

from pytest_braid.seam import interpreter, junit, reports
from pytest_braid.seam.session import is_own
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel, Encoder
from pytest_braid.wire.values import pack
from pytest_braid.worker.usage import Usage

_ASYNCHRONOUS = {
    getattr(signal, name)
    for name in (
        *("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF"),
        *("SIGUSR1", "SIGUSR2", "SIGCHLD"),
    )
    if hasattr(signal, name)
}
"""Signals whose handlers raise (Ctrl-C, a time-out) at any point of a program."""

_COPY_ENDED = (
    b"braid: a test called os.fork() and returned in the child too: the child ends here. End it "
    b"with os._exit() where its work is done.\n"
)


class Speech:
    """Messages on their way out, held until there is a reason to send them.

    What a test said is sent no later than the next test begins or the worker waits: a worker that
    is killed can lose only what its running test said, and that test is then reported as crashed.
    Its outcome is sent at once, so that it is not lost if the teardown ends the process.
    """

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self._held: list[msgspec.Struct] = []
        self.hold: Callable[[msgspec.Struct], None] = self._held.append
        """Let a message wait for the next that is said."""
        self._owner = os.getpid()
        self._turn = threading.Lock()
        # Bound here, before a test can patch the modules: what a teardown says goes this way.
        self._frame = Encoder().frame
        self._mask = interpreter.set_signal_mask
        self._pid, self._identity = os.getpid, threading.get_ident
        self._main = threading.main_thread().ident

    @property
    def socket(self) -> socket.socket:
        """What it is said on, and answered."""
        return self._channel.socket

    def end_copies(self) -> None:
        """End a copy of this process that a test has forked and let return into pytest.

        In a serial run it would run the rest of the session a second time. Here it would say with
        the voice of the worker, and take tests from its queue.
        """
        if self._pid() != self._owner:
            with contextlib.suppress(OSError):
                os.write(2, _COPY_ENDED)
            os._exit(1)

    def forget(self) -> None:
        """Drop what is held."""
        self._held.clear()

    def say(self, message: msgspec.Struct) -> None:
        self.hold(message)
        self.flush()

    def flush(self) -> None:
        """Send what is held."""
        self._send(self._held)

    def say_apart(self, message: msgspec.Struct) -> None:
        """Send a message before what is held, which stays held; from any thread."""
        self._send([message])

    def _send(self, messages: list[msgspec.Struct]) -> None:
        """Send them, and empty the list, to which another thread may add meanwhile.

        Signals wait, unless another thread takes them: half a message would break the stream, and
        one sent twice too. Their handlers are called in the main thread only.
        """
        self.end_copies()
        if not messages:
            return
        if self._identity() != self._main:
            error = self._send_now(messages)
        else:
            before = self._mask(signal.SIG_BLOCK, _ASYNCHRONOUS)
            try:
                error = self._send_now(messages)
            finally:
                self._mask(signal.SIG_SETMASK, before)
        if error is not None:
            raise error

    def _send_now(self, messages: list[msgspec.Struct]) -> Exception | None:
        with self._turn:
            now = messages[:]
            data, error = self._encoded(now)
            del messages[: len(now)]  # first, or who is interrupted would send them twice
            self._channel.socket.sendall(data)
        return error

    def _encoded(self, messages: list[msgspec.Struct]) -> tuple[bytes, Exception | None]:
        """A frame; or, if a plugin has put something into one of them that has no bytes, a frame
        for each of the others, and what is wrong with that one."""
        try:
            return self._frame(messages), None
        except Exception as error:  # noqa: BLE001 -- of whatever it is that is there
            if len(messages) == 1:
                return b"", error
        found = [self._encoded([message]) for message in messages]
        return b"".join(data for data, _ in found), next(filter(None, (e for _, e in found)), None)


class Spokesman:
    """The hooks that zygote and worker have in common. Registered in both, one at a time."""

    def __init__(self, speech: Speech) -> None:
        self.speech = speech
        self.test: int | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: Literal["config", "collect", "runtest"],
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        self.speech.hold(warned(warning_message, when, nodeid, location))

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> bool:
        self.speech.say(m.InternalFailed(str(excrepr)))
        return True  # pytest writes it to stderr unless someone says that it is told

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        ignore_interrupts()  # what follows is the teardown
        self.speech.say(interrupted(excinfo))


def ignore_interrupts() -> None:
    """With a handler, not ``SIG_IGN``, which the processes that a teardown starts would inherit."""
    signal.signal(signal.SIGINT, lambda *_: None)


def interrupted(excinfo: pytest.ExceptionInfo[Any]) -> m.Interrupted:
    shown = excinfo.getrepr(funcargs=True)
    at = shown.reprcrash
    crash = None if at is None else (at.path, at.lineno, at.message)
    if isinstance(excinfo.value, pytest.exit.Exception):
        return m.Interrupted(
            "exit", str(excinfo.value.msg), excinfo.value.returncode, crash, str(shown)
        )
    return m.Interrupted("keyboard", str(excinfo.value), None, crash, str(shown))


def warned(
    message: warnings.WarningMessage,
    when: Literal["config", "collect", "runtest"],
    nodeid: str,
    location: tuple[str, int, str] | None,
) -> m.Warned:
    category = message.category
    allocated = message.source and _allocation(message.source)
    return m.Warned(
        text=str(message.message),
        bases=tuple(f"{c.__module__}:{c.__qualname__}" for c in category.__mro__),
        filename=message.filename,
        lineno=message.lineno,
        line=_with(message, allocated) if allocated else message.line,
        has_source=message.source is not None and not allocated,
        when=when,
        nodeid=nodeid,
        location=location,
    )


def _allocation(source: object) -> str:
    """Where ``source`` came from, in pytest's words, if ``tracemalloc`` runs."""
    import tracemalloc

    trace = tracemalloc.get_object_traceback(source)
    return "\n".join(["Object allocated at:", *trace.format()]) if trace else ""


def _with(message: warnings.WarningMessage, text: str) -> str:
    """The warning's source line and, below it, a text that only this process can tell."""
    line = message.line or linecache.getline(message.filename, message.lineno)
    return f"{line.strip()}\n\n{text}"


Insist = Callable[[pytest.TestReport], None]
Judge = Callable[[pytest.CallInfo[Any]], Insist | None]
"""Fails a phase of a test that has swallowed its failure (``worker.guard``), before a report is
made of it; what is to be done with the report, if anything."""


class Reporter(Spokesman):
    """A worker's hooks: the reports of the tests that it runs."""

    shows = False
    """Whether the hooks of this process show what they are told."""

    def __init__(
        self,
        speech: Speech,
        config: pytest.Config,
        identity: dict[str, Any],
        mend_capture: Callable[[], None],
        mark_output: Callable[[], None],
        *,
        doubt: Callable[[pytest.Item], None],
    ) -> None:
        super().__init__(speech)
        self._doubt = doubt
        self._mend_capture = mend_capture
        self._mark_output = mark_output
        self._config = config
        self._identity = identity
        self._plain_keys = plain_keys(config)
        self._notes = junit.notes(config)
        self._highest = -1
        self._warnings: list[m.Warned] = []
        self._last = 0
        self._is_over = False
        """Whether the test of which is reported has ended before."""
        self._keywords_sent: int | None = None
        self._usage = Usage()
        self._has_unknown = False
        """Whether the process has computed something that was told as that of a strand."""
        self.clock = time.monotonic  # bound before a test can patch the module
        self.first_task: float = inf
        """Strands from here on are tasks, which do not run before all that is held is sent."""
        self.waited = 0.0
        """Seconds that the running teardown waited for the answer what comes next."""
        self.judge: Judge | None = None
        """Who may fail a test before that is reported."""

    def tell_fixture(self, name: str, seconds: float, at: float) -> None:
        """A fixture that tests share has been set up."""
        if self.test is not None:
            self.speech.hold(m.FixtureMade(self.test, name, seconds, at))

    def begin(self, test: int, strand: int = 0) -> None:
        """Say that a test begins, of which is reported while it runs."""
        self.test = self._last = test
        if self._has_unknown:
            self._usage.cpu()
            self._has_unknown = False
        self.announce(test, strand)

    def announce(self, test: int, strand: int) -> None:
        """Say that a test begins, in this strand."""
        self._mark_output()
        self.speech.hold(m.Begun(test, self.clock(), strand))
        if strand < self.first_task:
            self.speech.flush()

    def blocked(self, test: int, seconds: float, stack: tuple[str, ...]) -> None:
        """Say that a test has blocked the event loop, and where."""
        self.speech.say(m.LoopBlocked(test, seconds, stack))

    def resume(self, test: int) -> None:
        """What is reported from here on is of this test, which is over, until it is done."""
        self.test = self._last = test
        self._is_over = True

    def done(self, cpu: float | None = None, waited: float = 0.0) -> None:
        """The test is over; it has computed for ``cpu`` seconds, or for as long as the process, and
        ``waited`` for fixtures that others set up."""
        assert self.test is not None
        computed = self._usage.cpu() if cpu is None else cpu
        self._has_unknown = cpu is not None
        grown = self._usage.growth()
        self.speech.hold(m.Done(self.test, self.clock(), computed, grown, waited))
        self.test, self._is_over = None, False
        for warning in self._warnings:
            self.speech.hold(warning)
        self._warnings.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: Literal["config", "collect", "runtest"],
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """Pytest records what a test warned of when all else of it is over: so it is told last."""
        warning = warned(warning_message, when, nodeid, location)
        if self.test is None:
            self.speech.hold(warning)
        else:
            self._warnings.append(warning)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        self.speech.end_copies()  # before the teardown, which is its original's
        self._mend_capture()
        insist = None if self.judge is None else self.judge(call)
        if call.excinfo is not None and not isinstance(call.excinfo.value, pytest.skip.Exception):
            self._doubt(item)
        report = yield
        if call.when == "teardown" and self.waited:
            report.duration = max(0.0, report.duration - self.waited)
            self.waited = 0.0
        if insist is not None:
            insist(report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._last if self.test is None else self.test  # reported when no test runs
        self._mark_output()
        if self._notes is not None:
            self.tell_notes(report.nodeid, is_last=report.when == "teardown")
        self.speech.hold(self._plain(report, test) or self._full(report, test))
        if not self._is_over and (report.when == "call" or report.outcome != "passed"):
            self.speech.flush()

    def tell_notes(self, nodeid: str = "", *, is_last: bool) -> None:
        """Tell what the test has recorded for the junit file, before the report is told; without
        its node id, what the end of the session has."""
        if self._notes is None:
            return
        if self.test is not None:
            self._highest = max(self._highest, self.test)
        noted = m.JunitNoted(
            self.test,
            self._highest,
            is_last,
            self._notes.take_attributes(nodeid),
            self._notes.take_properties(),
        )
        if noted.attributes or noted.properties:
            self.speech.hold(noted)
        if is_last:
            self._notes.forget_test(nodeid)

    def _full(self, report: pytest.TestReport, test: int) -> m.Report:
        data = self._serialised(report)
        packed = pack(data | self._identity | {"item_index": test})
        shown = reports.rendering(self._config, report.longrepr)
        return m.Report(test, packed, shown, reports.failed_subtests(self._config, report))

    def _serialised(self, report: pytest.TestReport) -> dict[str, Any]:
        hook = self._config.hook.pytest_report_to_serializable
        try:
            return hook(config=self._config, report=report)  # type: ignore[no-any-return]
        except Exception:  # noqa: BLE001 -- a plugin's own representation, of any kind
            as_text = copy.copy(report)
            as_text.longrepr = str(report.longrepr)
            return hook(config=self._config, report=as_text)  # type: ignore[no-any-return]

    def _plain(self, report: pytest.TestReport, test: int) -> m.PlainReport | None:
        """The report without the generic path, if it holds nothing that would be lost."""
        longrepr = report.longrepr
        if (
            report.__dict__.keys() != self._plain_keys
            or type(report) is not pytest.TestReport
            or report.user_properties
            or report.outcome not in {"passed", "skipped"}
            or type(report.duration) is not float
            or type(report.start) not in _NUMBERS
            or type(report.stop) not in _NUMBERS
            or not (longrepr is None or _is_skip(longrepr))
            or not all(map(_is_section, report.sections))
        ):
            return None
        keywords: dict[str, int] | None = None
        if self._keywords_sent != test:
            keywords, self._keywords_sent = {**report.keywords}, test
            if not _is_text_to_int(keywords):
                self._keywords_sent = None
                return None
        return m.PlainReport(
            test,
            report.when,
            report.outcome,
            report.duration,
            report.start,
            report.stop,
            tuple(report.sections),
            keywords,
            longrepr,  # type: ignore[arg-type]
        )


_NUMBERS = (float, int)


def _is_section(section: object) -> bool:
    return type(section) is tuple and [*map(type, section)] == [str, str]


def _is_skip(longrepr: object) -> bool:
    return type(longrepr) is tuple and [*map(type, longrepr)] == [str, int, str]


def _is_text_to_int(keywords: dict[Any, Any]) -> bool:
    return {*map(type, keywords)} <= {str} and {*map(type, keywords.values())} <= {int}


def plain_keys(config: pytest.Config) -> frozenset[str]:
    """The attributes of a report that has nothing special; none where a plugin serialises reports
    in its own way, so that its hooks are always asked."""
    hooks = (
        config.hook.pytest_report_to_serializable,
        config.hook.pytest_report_from_serializable,
    )
    for hook in hooks:
        for implementation in hook.get_hookimpls():
            if not is_own(getattr(implementation.function, "__module__", "")):
                return frozenset()
    report = pytest.TestReport("a", ("a", 0, "a"), {}, "passed", None, "call")
    return frozenset(report.__dict__)
