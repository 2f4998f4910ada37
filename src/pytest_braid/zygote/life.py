"""The life of a zygote, from the controller's fork to its end."""

from __future__ import annotations

import gc
import os
import signal
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_braid.seam import interpreter, junit, output, reports
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, Place, ZygoteKit
from pytest_braid.wire.queue import QueueReader
from pytest_braid.wire.values import pack, unpack
from pytest_braid.worker.limit import Limit, Tally
from pytest_braid.worker.main import LastWord, MainStrand
from pytest_braid.worker.speech import Reporter, Speech, Spokesman
from pytest_braid.zygote.census import census
from pytest_braid.zygote.nursery import Birth, Nursery


def live(
    config: pytest.Config, channel: Channel[m.ToZygote], kit: ZygoteKit, *, held: list[str]
) -> NoReturn:
    """Be the zygote: called in the child of the controller's fork, never returns.

    ``held`` are reasons against forking that only the controller could see (``census``).
    """
    try:
        _live(config, channel, kit, held)
    except BaseException:  # noqa: BLE001 -- the controller shows what this process has printed
        traceback.print_exc()
    finally:  # never back into the controller's stack
        interpreter.end_process(1)


def _live(
    config: pytest.Config, channel: Channel[m.ToZygote], kit: ZygoteKit, held: list[str]
) -> None:
    os.setpgid(0, 0)  # Ctrl-C reaches the controller alone, which decides
    interpreter.die_with(kit.parent)
    interpreter.forget_exit_callbacks()
    markup = output.terminal_markup(config)
    _redirect(config, kit)
    order = channel.receive()
    if not isinstance(order, m.Configure):
        os._exit(1)
    life = _Life(config, channel, order, kit.place, markup)
    life.held = held
    status = life.session()
    life.speech.say(m.ZygoteEnded(status, pack(life.output) if life.is_only_session else None))
    interpreter.end_process(0)


def _redirect(config: pytest.Config, kit: ZygoteKit) -> None:
    """Standard input is nobody's in a process group of its own: reading it would stop us."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    output.give_capture_files(config, kit.out, kit.err)
    if kit.log is not None:
        output.send_output_to(config, kit.log)


class _Life:
    def __init__(
        self,
        config: pytest.Config,
        channel: Channel[m.ToZygote],
        order: m.Configure,
        place: Place,
        markup: bool,
    ) -> None:
        self.config = config
        self.channel = channel
        self.speech = Speech(channel)
        self.output: dict[str, Any] = {}
        self.is_only_session = True
        self.held: list[str] = []
        self.place = place
        self._tally = Tally()
        self._basetemp = Path(order.basetemp) if order.basetemp else None
        self._markup = markup
        self._be_worker(unpack(order.packed))

    def _be_worker(self, workerinput: dict[str, Any]) -> None:
        """Look like an xdist worker before any plugin configures itself."""
        config, option = self.config, self.config.option
        config.workerinput = workerinput  # type: ignore[attr-defined]
        config.workeroutput = self.output  # type: ignore[attr-defined]
        option.dist, option.tx, option.distload = "no", [], False
        option.numprocesses = option.maxprocesses = None
        option.usepdb = False
        if self._basetemp is not None:
            option.basetemp = str(self._basetemp / "popen-zygote")
        _set_identity(workerinput)

    def session(self) -> int:
        """Run pytest's whole session. In a worker it does not return: ``LastWord`` ends it, or, if
        that could not speak any more, this does."""
        self.config.pluginmanager.register(Collecting(self.speech, self), "braid-zygote")
        zygote = os.getpid()
        try:
            return int(self.config.hook.pytest_cmdline_main(config=self.config) or 0)
        except BaseException as error:  # noqa: BLE001 -- it must be told, whatever it is
            if os.getpid() == zygote:
                return self._tell_failure(error)
            traceback.print_exc()
            os._exit(1)

    def _tell_failure(self, error: BaseException) -> int:
        if isinstance(error, pytest.UsageError):
            self.speech.say(m.UsageFailed(tuple(map(str, error.args))))
            return int(pytest.ExitCode.USAGE_ERROR)
        text = "".join(traceback.format_exception(error))
        self.speech.say(m.InternalFailed(text))
        return int(pytest.ExitCode.INTERNAL_ERROR)

    def fork_workers(self, session: pytest.Session) -> bool:
        """``pytest_runtestloop`` of the zygote and of every worker."""
        self.speech.say(m.Waiting())
        reasons = self._prepare_copies(session)
        nursery = Nursery(self.channel)
        if not nursery.wait_for_first():
            return True  # nothing to run: this process's session is the only one, and ends here
        if reasons:
            self.speech.say(m.Refused(tuple(reasons)))
            return True
        self.is_only_session = False
        birth = nursery.serve()
        if birth is None:
            self._end()
        self._be_forked(session, birth)
        return True

    def _prepare_copies(self, session: pytest.Session) -> list[str]:
        """While the controller takes the collection in: look for what forbids a fork, and let the
        heap be shared. Garbage goes first, for what is frozen is never collected; where only one
        worker will share it, that is not worth the time."""
        reasons = census(self.config, (self.channel.fileno(),)) if session.items else []
        reasons = [*self.held, *reasons]
        interpreter.flush_files()
        workers: int = self.config.workerinput["workercount"]  # type: ignore[attr-defined]
        if min(workers, len(session.items)) > 1:
            gc.collect()
        interpreter.freeze()
        return reasons

    def _end(self) -> NoReturn:
        """The workers have finished the session; what the zygote configured it unconfigures."""
        code = 0
        try:
            session_seam.unconfigure(self.config)
        except BaseException:  # noqa: BLE001 -- the controller shows what this process has printed
            traceback.print_exc()
            code = 1
        self.speech.say(m.ZygoteEnded(code, None))
        interpreter.end_process(code)

    def _be_forked(self, session: pytest.Session, birth: Birth) -> None:
        try:
            strand = self._become(session, birth)
        except BaseException:  # noqa: BLE001 -- the controller tells that this worker has died
            traceback.print_exc()
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the nursery has blocked it
        strand.run()

    def _become(self, session: pytest.Session, birth: Birth) -> MainStrand:
        """Everything that a worker must not share with its siblings."""
        config, kit = self.config, birth.kit
        workerinput = config.workerinput  # type: ignore[attr-defined]
        workerinput.clear()
        workerinput.update(unpack(birth.packed))
        _set_identity(workerinput)
        output.give_capture_files(config, kit.out, kit.err)
        os.register_at_fork(after_in_child=lambda: output.leave_capture_alone(config))
        output.give_fault_file(config, kit.fault)
        if self._basetemp is not None:
            name = f"popen-{workerinput['workerid']}"
            session_seam.give_basetemp(config, self._basetemp / name, birth.number)
        reporter = self._replace_spokesman(birth, workerinput)
        strand = MainStrand(
            session,
            QueueReader(kit.queue),
            Claim(kit.claim),
            reporter,
            Limit(session, self._tally, birth.slot),
        )
        cleanups = session_seam.fresh_cleanups(config)
        last_word = LastWord(reporter, strand, self.output, cleanups)
        config.pluginmanager.register(last_word, "braid-last-word")
        return strand

    def _replace_spokesman(self, birth: Birth, workerinput: dict[str, Any]) -> Reporter:
        manager = self.config.pluginmanager
        identity = {key: workerinput[key] for key in ("workerid", "testrunuid")}
        reporter = Reporter(
            Speech(birth.channel),
            self.config,
            {"worker_id": identity["workerid"], "testrun_uid": identity["testrunuid"]},
            output.capture_mender(self.config, birth.kit.out, birth.kit.err),
        )
        manager.unregister(name="braid-zygote")
        manager.register(reporter, "braid-worker")
        reporter.speech.forget()  # pluggy has told it all warnings of the collection once more
        return reporter


def _set_identity(workerinput: dict[str, Any]) -> None:
    """The variables that suites read (pytest-xdist's names)."""
    os.environ["PYTEST_XDIST_WORKER"] = workerinput["workerid"]
    os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(workerinput["workercount"])
    os.environ["PYTEST_XDIST_TESTRUNUID"] = workerinput["testrunuid"]


class Collecting(Spokesman):
    """The zygote's hooks: what it collects is told to the controller."""

    def __init__(self, speech: Speech, life: _Life) -> None:
        super().__init__(speech)
        self._life = life
        self._found = 0
        self._remembered: dict[str, bool] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        output.quiet_terminal(config, self._life._markup)  # noqa: SLF001 -- its own module
        junit.take_notes(config)
        cache = getattr(config, "cache", None)
        if cache is not None:
            self._remembered = cache.get("cache/lastfailed", {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Reports that passed matter only to ``--last-failed``, which forgets the collector and
        remembers the tests in it."""
        tests = [node.nodeid for node in report.result if isinstance(node, pytest.Item)]
        self._found += len(tests)
        if report.passed and report.nodeid not in self._remembered:
            return
        config = self._life.config
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        shown = reports.rendering(config, report.longrepr)
        self.speech.say(m.CollectReported(pack(data), tuple(tests), shown))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        self._life.place.set(collector.nodeid)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.speech.say(m.Deselected(tuple(item.nodeid for item in items)))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        config = session.config
        lines = config.hook.pytest_report_collectionfinish(
            config=config, start_path=session.startpath, items=session.items
        )
        self.speech.say(
            m.Collected(
                tests=tuple(map(_test, session.items)),
                found=self._found,
                lines=tuple(_flat(lines)),
                stepwise=session_seam.stepwise_count(config),
            )
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        return self._life.fork_workers(session)


def _test(item: pytest.Item) -> m.Test:
    return m.Test(item.nodeid, item.location, item.get_closest_marker("forked") is not None)


def _flat(lines: list[Any]) -> Generator[str, None, None]:
    """Hooks answer with a line or a list of lines; pytest prints the last registered first."""
    for answer in reversed(lines):
        yield from [answer] if isinstance(answer, str) else answer
