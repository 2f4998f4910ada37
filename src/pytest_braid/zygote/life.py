"""The life of a zygote, from the controller's fork to its end."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from pytest_braid.seam import interpreter, junit, live, output, reports
from pytest_braid.seam import session as session_seam
from pytest_braid.seam.identity import Questions, WorkerInput
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, Place, ZygoteKit
from pytest_braid.wire.queue import QueueReader
from pytest_braid.wire.values import pack, unpack
from pytest_braid.worker.limit import Limit, Tally
from pytest_braid.worker.live import Marks
from pytest_braid.worker.main import LastWord, MainStrand
from pytest_braid.worker.speech import Reporter, Speech, Spokesman
from pytest_braid.zygote.census import census
from pytest_braid.zygote.nursery import Birth, Nursery


class Born(NamedTuple):
    """What the zygote has from the controller."""

    workerinput: dict[str, Any]
    """What any worker of this run is told, before ``pytest_configure_node`` has added to it."""
    held: list[str]
    """Reasons against forking that only the controller could see (``census``)."""
    questions: Questions


def begin(born: Born, config: pytest.Config, theirs: socket.socket, kit: ZygoteKit) -> None:
    """Turn the child of the controller's fork into the zygote, and return: it goes on through
    pytest's own main, as the process that it is a copy of would, until ``_Life.end`` ends it.
    """
    try:
        _begin(born, config, Channel(theirs, m.ToZygote), kit)
    except BaseException:  # noqa: BLE001 -- the controller shows what this process has printed
        traceback.print_exc()
        interpreter.end_process(1)


def _begin(born: Born, config: pytest.Config, channel: Channel[m.ToZygote], kit: ZygoteKit) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until pytest would handle it
    os.setpgid(0, 0)  # Ctrl-C reaches the controller alone, which decides
    interpreter.die_with(kit.parent)
    interpreter.forget_exit_callbacks()
    markup = output.terminal_markup(config)
    terminal = os.dup(1) if live.logs_live(config) else None
    _redirect(config, kit)
    life = _Life(config, channel, born)
    session_seam.end_with(config, life.end)
    config.pluginmanager.register(Looks(markup, terminal))
    config.pluginmanager.register(Collecting(life.speech, life, kit.place), "braid-zygote")
    config.pluginmanager.register(Interruptible())


def _redirect(config: pytest.Config, kit: ZygoteKit) -> None:
    """Standard input is nobody's in a process group of its own: reading it would stop us."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    output.give_capture_files(config, kit.out, kit.err)
    if kit.log is not None:
        output.send_output_to(config, kit.log)
    else:
        live.print_lines()


class _Life:
    def __init__(self, config: pytest.Config, channel: Channel[m.ToZygote], born: Born) -> None:
        self.config = config
        self.channel = channel
        self.speech = Speech(channel)
        self.output: dict[str, Any] = {}
        self.is_only_session = True
        self._held = born.held
        self._questions = born.questions
        self.pytest_session: pytest.Session | None = None
        self._outer = sys.exc_info()[1]  # of whoever called pytest
        self._tally = Tally()
        self._basetemp: Path | None = None
        self._be_worker(born.workerinput)

    def _be_worker(self, workerinput: dict[str, Any]) -> None:
        """Look like an xdist worker before any plugin configures itself.

        The controller is configuring itself beside us. What its plugins want to tell a worker comes
        when that is done, and is waited for by whoever looks at ``workerinput``.
        """
        config, option = self.config, self.config.option
        config.workeroutput = self.output  # type: ignore[attr-defined]
        option.loadgroup = option.dist == "loadgroup"
        option.dist, option.tx, option.distload = "no", [], False
        option.numprocesses = option.maxprocesses = None
        option.usepdb = False
        _set_identity(workerinput)
        self._questions.has_answers = True
        self.take_order = session_seam.answer_late(config, "workerinput", self._take_order)
        option.basetemp = None  # it is for the controller to empty it; ours is a part of it

    def _take_order(self) -> WorkerInput:
        order = self.channel.receive()
        if order is None:
            os._exit(1)
        if not isinstance(order, m.Configure):
            raise KeyboardInterrupt  # the controller could not configure itself
        if order.basetemp:
            self._basetemp = Path(order.basetemp)
            session_seam.plan_basetemp(self.config, self._basetemp / "popen-zygote")
        return WorkerInput(unpack(order.packed), self._questions)

    def end(self, failure: BaseException | None = None) -> NoReturn:
        """The end of the zygote, when pytest is done with its config, on whatever path. ``failure``
        is that of a cleanup; what pytest itself lets through is on its way."""
        code = 0
        error = failure or sys.exc_info()[1]
        if error is not self._outer:
            code = self._tell_failure(error)
        packed = pack(self.output) if self.is_only_session else None
        self.speech.say(m.ZygoteEnded(self._exitstatus(), packed))
        interpreter.end_process(code)

    def _tell_failure(self, error: BaseException | None) -> int:
        if isinstance(error, pytest.UsageError):
            self.speech.say(m.UsageFailed(tuple(map(str, error.args))))
            return 0
        traceback.print_exception(error)  # the controller shows what this process has printed
        return 1

    def _exitstatus(self) -> int:
        return 0 if self.pytest_session is None else int(self.pytest_session.exitstatus)

    def fork_workers(self, session: pytest.Session) -> MainStrand | None:
        """Returns in every worker, with its strand, and in the zygote if there are none."""
        reasons = census(self.config, (self.channel.fileno(),)) if session.items else []
        asked = self._questions.places(self.config.rootpath)
        self.speech.say(m.Waiting((*self._held, *reasons), asked))
        self._prepare_copies(session)
        nursery = Nursery(self.channel)
        if not nursery.wait_for_first():
            return None  # this process's session is the only one, and ends here
        self.is_only_session = False
        birth = nursery.serve()
        if birth is None:
            self._unconfigure()
        return self._be_forked(session, birth)

    def _prepare_copies(self, session: pytest.Session) -> None:
        """While the controller takes the collection in: let the heap be shared. Garbage goes first,
        for what is frozen is never collected; where only one worker will share it, that is not
        worth the time."""
        interpreter.flush_files()
        workers: int = self.config.workerinput["workercount"]  # type: ignore[attr-defined]
        if min(workers, len(session.items)) > 1:
            gc.collect()
        interpreter.freeze()

    def _unconfigure(self) -> NoReturn:
        """The workers have finished the session; what the zygote configured it unconfigures, and
        with that it ends."""
        try:
            session_seam.unconfigure(self.config)
        finally:
            self.end()

    def _be_forked(self, session: pytest.Session, birth: Birth) -> MainStrand:
        try:
            strand = self._become(session, birth)
        except BaseException:  # noqa: BLE001 -- the controller tells that this worker has died
            traceback.print_exc()
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the nursery has blocked it
        return strand

    def _become(self, session: pytest.Session, birth: Birth) -> MainStrand:
        """Everything that a worker must not share with its siblings."""
        config, kit = self.config, birth.kit
        self._questions.close()
        workerinput = config.workerinput  # type: ignore[attr-defined]
        workerinput.clear()
        workerinput.update(unpack(birth.packed))
        _set_identity(workerinput)
        output.give_capture_files(config, kit.out, kit.err)
        os.register_at_fork(after_in_child=lambda: output.leave_capture_alone(config))
        output.give_fault_file(config, kit.fault)
        if kit.stdout is not None and kit.stderr is not None:
            self._show_live(kit.stdout, kit.stderr)
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

    def _show_live(self, out: int, err: int) -> None:
        if live.prints_live(self.config):
            live.print_to(out, err)
        live.log_to(self.config, out)

    def _replace_spokesman(self, birth: Birth, workerinput: dict[str, Any]) -> Reporter:
        manager = self.config.pluginmanager
        identity = {key: workerinput[key] for key in ("workerid", "testrunuid")}
        reporter = Reporter(
            Speech(birth.channel),
            self.config,
            {"worker_id": identity["workerid"], "testrun_uid": identity["testrunuid"]},
            output.capture_mender(self.config, birth.kit.out, birth.kit.err),
            Marks(birth.kit.live(), birth.mark).put,
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


class Interruptible:
    """From the first hook of the session on pytest is ready for Ctrl-C."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Looks:
    """What the zygote shows looks as in the controller: ``markup`` says whether its terminal has
    colours, ``terminal`` is where pytest's live log goes, if there is one."""

    def __init__(self, markup: bool, terminal: int | None) -> None:
        self._markup = markup
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Behind the plugins of pytest, which make what is changed here."""
        output.quiet_terminal(config, self._markup)
        if self._markup:
            live.colour_logs(config)
        live.share_log_file(config)
        if self._terminal is not None:
            live.log_to(config, self._terminal)


class Collecting(Spokesman):
    """The zygote's hooks: what it collects is told to the controller."""

    def __init__(self, speech: Speech, life: _Life, place: Place) -> None:
        super().__init__(speech)
        self._place = place
        self._life = life
        self._found = 0
        self._remembered: dict[str, bool] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        junit.take_notes(config)
        cache = getattr(config, "cache", None)
        if cache is not None:
            self._remembered = cache.get("cache/lastfailed", {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._life.pytest_session = session
        self._life.take_order()

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
        self._place.set(collector.nodeid)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.speech.say(m.Deselected(tuple(item.nodeid for item in items)))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        config = session.config
        lines = config.hook.pytest_report_collectionfinish(
            config=config, start_path=session.startpath, items=session.items
        )
        is_by_group = config.option.loadgroup
        self.speech.say(
            m.Collected(
                tests=tuple(_test(item, is_by_group=is_by_group) for item in session.items),
                found=self._found,
                lines=tuple(_flat(lines)),
                stepwise=session_seam.stepwise_count(config),
            )
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Of the zygote and of every worker. The loop stands here so that a test is called with
        as many frames below it as in a serial run: recursion tests count them."""
        strand = self._life.fork_workers(session)
        if strand is not None:
            with strand.telling_failures():
                for item, nextitem in strand.tests():
                    session.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        return True


def _group(item: pytest.Item) -> str | None:
    """The names that its ``xdist_group`` marks give, joined as by pytest-xdist."""
    names = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    return "_".join(sorted(names)) or None


def _test(item: pytest.Item, *, is_by_group: bool) -> m.Test:
    own_process = item.get_closest_marker("forked") is not None
    return m.Test(item.nodeid, item.location, own_process, _group(item) if is_by_group else None)


def _flat(lines: list[Any]) -> Generator[str, None, None]:
    """Hooks answer with a line or a list of lines; pytest prints the last registered first."""
    for answer in reversed(lines):
        yield from [answer] if isinstance(answer, str) else answer
