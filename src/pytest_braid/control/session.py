"""The controller as a pytest plugin: its session collects nothing and runs nothing itself."""

from __future__ import annotations

import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from pytest_braid.control.fleet import Zygote, describe_end, make_room
from pytest_braid.control.log import EventLog
from pytest_braid.control.node import Node, NodeManager, Spec
from pytest_braid.control.spawner import Spawner, make_spawner, require_spawnable
from pytest_braid.control.texts import (
    COLLECTIONS_DIFFER,
    different,
    refusal,
    spawned_instead,
)
from pytest_braid.model import events as e
from pytest_braid.model.limits import Limit
from pytest_braid.model.tests import Mode, SchedulerSettings
from pytest_braid.seam import output, reports
from pytest_braid.seam import session as session_seam
from pytest_braid.seam.identity import mistaken
from pytest_braid.seam.live import share_log_file
from pytest_braid.wire import messages as m
from pytest_braid.wire.values import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_braid.control.loop import Loop
    from pytest_braid.control.replay import Replay
    from pytest_braid.schedule.scheduler import Scheduler


_SCHEDULERS = {
    Mode.LOAD: "LoadScheduling",
    Mode.WORKSTEAL: "WorkStealingScheduling",
    Mode.LOADSCOPE: "LoadScopeScheduling",
    Mode.LOADFILE: "LoadFileScheduling",
    Mode.LOADGROUP: "LoadGroupScheduling",
    Mode.EACH: "EachScheduling",
}
"""What ``-v`` calls the modes: the names of pytest-xdist's classes."""


_NOT_YET = "before it collected anything"


class Settings(Protocol):
    """What the controller reads of ``options.Settings``."""

    @property
    def workers(self) -> int: ...
    @property
    def mode(self) -> str: ...
    @property
    def max_restarts(self) -> int | None: ...
    @property
    def reorder(self) -> bool: ...
    @property
    def max_chunk(self) -> int | None: ...
    @property
    def max_tests(self) -> int | None: ...
    @property
    def testrun_uid(self) -> str: ...
    @property
    def log(self) -> Path | None: ...
    @property
    def live(self) -> bool: ...
    @property
    def start_method(self) -> str: ...
    @property
    def note(self) -> str | None: ...
    @property
    def limit(self) -> Limit | None: ...


class Controller:
    """Registered as ``dsession``, the name under which plugins look for xdist's."""

    def __init__(
        self, config: pytest.Config, settings: Settings, zygote: Zygote, held: Sequence[str]
    ) -> None:
        self._config = config
        self._hook: Any = config.hook
        self._settings = settings
        self._mode = Mode(settings.mode)
        self._zygote = zygote
        self._held = held
        """Reasons against forking from this process."""
        self._nodes = NodeManager(config, settings.testrun_uid)
        self._made: dict[int, Node] = {}
        self._tests: Sequence[m.Test] = ()
        self._collected = False
        self._uncollected: set[str] = set()
        self._waiting: m.Waiting | None = None
        self._is_failed = False
        self._interruption: m.Interrupted | None = None
        self._is_ending = False
        self._is_ended = False
        self._is_heard_out = False
        self._is_killed = False
        self._reaped: tuple[int, str] | None = None
        self._is_told = False
        """Whether the run has an error that explains why the zygote failed."""
        self._has_forked = False
        self._scheduler: Scheduler | None = None
        self._loop: Loop | None = None
        self._log: EventLog | None = None
        self._warned: set[tuple[str, str, str, int]] = set()
        self._unfinished: list[int] = []

    # --- before the tests ---------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False  # results of several files come in between each other
        share_log_file(config)
        if not isinstance(self._zygote, Spawner):
            self._zygote.send(m.Configure())

    def pytest_report_header(self) -> list[str]:
        lines = [f"braid: {self._settings.note}"] if self._settings.note else []
        return [*lines, *(spawned_instead(self._held).splitlines() if self._held else [])]

    @pytest.hookimpl
    def pytest_warning_recorded(self, warning_message: Any, when: str) -> None:
        """The zygote configures the same plugins: what they say twice is shown once."""
        if when == "config":
            self._warned.add(_key(warning_message))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if self._settings.log is not None:
            self._log = EventLog(self._settings.log)
            self._log.event(
                e.RunStarted(
                    run=self._settings.testrun_uid,
                    workers=self._settings.workers,
                    mode=self._mode,
                    wall=time.time(),
                    at=time.monotonic(),
                )
            )
        self._nodes.specs = [Spec(f"gw{n}") for n in range(self._settings.workers)]
        self._hook.pytest_xdist_setupnodes(config=session.config, specs=self._nodes.specs)
        first = self._node(0)
        if isinstance(self._zygote, Spawner):
            nodes = [self._node(slot) for slot in range(self._settings.workers)]
            make_room(self._settings.workers)
            self._zygote.begin(nodes, self._basetemp())
        else:
            self._zygote.send(m.Collect(pack(first.workerinput), self._basetemp()))

    def _basetemp(self) -> str:
        """The base directory of the run; empty without pytest's plugin ``tmpdir``."""
        return str(session_seam.run_basetemp(self._config) or "")

    def _node(self, slot: int) -> Node:
        """The node of a slot, configured by plugins; the zygote is configured as the first."""
        if slot not in self._made:
            node = Node(self._nodes, slot, self._settings.workers)
            self._hook.pytest_configure_node(node=node)
            self._made[slot] = node
        return self._made[slot]

    # --- collection ---------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Wait for what the zygote collects."""
        output.show_collecting(session.config)
        replay = self._replay()
        while self._waiting is None:
            said = self._zygote.collected()
            if said is None or isinstance(said, m.ZygoteEnded | m.Goodbye):
                self._raise_early_end(session, said)
            else:
                self._on_collecting(session, replay, said)
        return True

    def _on_collecting(
        self, session: pytest.Session, replay: Replay, said: m.FromZygote | m.FromWorker
    ) -> None:
        match said:
            case m.CollectReported():
                if replay.collect_report(session, said).failed:
                    self._uncollected.add(unpack(said.packed)["nodeid"])
            case m.Deselected():
                replay.deselected(session, said.nodeids)
            case m.Warned():
                self._replay_warning(replay, said)
            case m.Collected():
                self._take_collection(session, said)
            case m.Waiting():
                self._waiting = said
                session.testscollected = len(self._tests)
            case m.UsageFailed() | m.Interrupted() | m.InternalFailed():
                self._is_failed = True
                self._raise_failure(said)
            case _:
                pass

    def _raise_failure(self, said: m.UsageFailed | m.Interrupted | m.InternalFailed) -> None:
        match said:
            case m.UsageFailed():
                raise pytest.UsageError(*said.texts)
            case m.Interrupted():
                self._raise_interrupted(said)
            case m.InternalFailed():
                self._internal_error(said.text)

    def _replay_warning(self, replay: Replay, said: m.Warned) -> None:
        key = (said.bases[0].partition(":")[2], said.text, said.filename, said.lineno)
        if said.when != "config" or key not in self._warned:
            replay.warning(said)

    def _take_collection(self, session: pytest.Session, said: m.Collected) -> None:
        from pytest_braid.control.replay import Items

        self._collected = True
        self._tests = said.tests
        session.items = Items(session, said.tests)  # type: ignore[assignment]
        if said.stepwise is not None:
            session_seam.set_stepwise_count(session.config, said.stepwise)
        if self._log is not None:
            nodeids = tuple(test.nodeid for test in said.tests)
            self._log.event(e.TestsCollected(nodeids=nodeids, at=time.monotonic()))
        self._scheduler = self._make_scheduler()
        self._say_collected(session, said, self._scheduler.slots)

    def _make_scheduler(self) -> Scheduler:
        from pytest_braid.control.units import specs_of
        from pytest_braid.schedule.scheduler import Scheduler

        wanted = self._settings
        settings = SchedulerSettings(
            workers=wanted.workers,
            mode=self._mode,
            max_restarts=wanted.max_restarts,
            reorder=wanted.reorder,
            max_chunk=wanted.max_chunk,
            max_tests_per_worker=wanted.max_tests,
        )
        return Scheduler(specs_of(self._tests, self._mode, wanted.workers), settings)

    def _say_collected(self, session: pytest.Session, said: m.Collected, workers: int) -> None:
        output.show_collected(session.config, said.found)
        reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or session.config.option.verbose < 0:
            return
        for line in said.lines:
            reporter.write_line(line)
        if workers:
            noun = "worker" if workers == 1 else "workers"
            items = "item" if len(said.tests) == 1 else "items"
            reporter.write_line(f"{workers} {noun} [{len(said.tests)} {items}]")
            if session.config.option.verbose > 0:
                reporter.write_line(f"scheduling tests via {_SCHEDULERS[self._mode]}")

    def _raise_early_end(
        self, session: pytest.Session, said: m.ZygoteEnded | m.Goodbye | None
    ) -> None:
        """Who collects ended without a collection: as a serial run would, for the same reason."""
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        if said is None:
            self._internal_error(self._how_the_collection_ended())
        if isinstance(said, m.Goodbye):
            status = int(unpack(said.packed)["exitstatus"])
        else:
            status = said.exitstatus
        pytest.exit("the collection ended without a result", status)

    def _how_the_collection_ended(self) -> str:
        death = self._zygote.collector()
        how = describe_end(death.status)
        where = f"while it collected {death.place!r}" if death.place else _NOT_YET
        return (
            f"braid: the process that collects the tests is gone: {how}, {where}. Run with -n 0 "
            f"to see more.\n{death.printed}"
        )

    def _internal_error(self, text: str) -> NoReturn:
        """What braid says of itself begins with the reason, a traceback ends with it."""
        self._is_told = True
        self._hook.pytest_internalerror(excrepr=_Text(text), excinfo=None)
        lines = text.strip().splitlines()
        reason = lines[0] if text.startswith("braid: ") else lines[-1]
        pytest.exit(reason, pytest.ExitCode.INTERNAL_ERROR)

    # --- the tests ----------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(
                f"{session.testsfailed} error{'s' if session.testsfailed != 1 else ''} during "
                "collection"
            )
        if not self._tests:
            return True
        make_room(self._settings.workers)
        reasons = self._reasons_against_forking()
        if reasons and self._settings.start_method == "fork":
            raise pytest.UsageError(refusal(reasons))
        self._has_forked = True
        if reasons:
            self._spawn_instead(reasons)
        self._loop = loop = self._make_loop(session)
        try:
            loop.run()
        finally:
            self._unfinished = loop.ledger.unfinished()
        self._raise_end(session, loop)
        return True

    def _reasons_against_forking(self) -> list[str]:
        """``--start-method fork`` insists where nothing can break but what the project does."""
        assert self._waiting is not None
        assert self._scheduler is not None
        if isinstance(self._zygote, Spawner):
            return []
        reasons = [*self._waiting.reasons]
        if self._settings.start_method != "fork":
            inputs = [self._node(slot).workerinput for slot in range(self._scheduler.slots)]
            reasons += [*self._waiting.doubts, *mistaken(self._waiting.asked, inputs)]
        return reasons

    def _spawn_instead(self, reasons: Sequence[str]) -> None:
        """End the zygote, and with it all that it holds, before others begin what it has begun."""
        require_spawnable(self._config)
        output.say(self._config, spawned_instead(reasons))
        self._end_zygote()
        status, printed = self._reap_zygote()
        if status:
            self._internal_error(failed_at_its_end(status, printed))
        self._is_ending = self._is_ended = self._is_heard_out = False
        self._reaped = None
        spawner = make_spawner(self._config, self._zygote.live, redirect=not self._settings.live)
        spawner.know_collection(self._basetemp())
        self._zygote = spawner

    def _replay(self) -> Replay:
        """Import it only now: until here the zygote waits for us, from here on it works."""
        from pytest_braid.control.replay import Replay

        return Replay(self._config, self._tests)

    def _make_loop(self, session: pytest.Session) -> Loop:
        from pytest_braid.control.loop import Loop
        from pytest_braid.control.watch import Limits

        assert self._scheduler is not None
        if not isinstance(self._zygote, Spawner):
            self._zygote.live.expect(self._scheduler.slots)
        return Loop(
            session,
            zygote=self._zygote,
            scheduler=self._scheduler,
            replay=self._replay(),
            tests=self._tests,
            uncollected=self._uncollected,
            copies=self._settings.workers if self._mode is Mode.EACH else 1,
            make_node=self._node,
            limits=Limits(self._settings.limit, session_seam.has_pytest_timeout(session.config)),
            log=self._log,
        )

    def _raise_end(self, session: pytest.Session, loop: Loop) -> None:
        """Why the run ended, if not because all tests were done; the worst reason first."""
        if loop.usage_errors:
            raise pytest.UsageError(*loop.usage_errors)
        for text in loop.internal_errors:
            self._internal_error(text)
        if loop.zygote_died:
            how = describe_end(self._zygote.wait())
            self._internal_error(
                f"braid: the process that forks the workers is gone: {how}. No test can be "
                f"started any more.\n{self._zygote.printed()}\n"
                + "\n".join((*self._cut_lines(loop), *self._ledger_lines(loop)))
            )
        if loop.different:
            names = " and ".join(loop.different)
            session.shouldfail = f"{names} collected other tests, see above"
            raise session.Failed(session.shouldfail)
        if loop.interrupts.said is not None:
            self._raise_interrupted(loop.interrupts.said)
        self._raise_stop(session, loop)

    def _raise_stop(self, session: pytest.Session, loop: Loop) -> None:
        if loop.gave_up is not None:
            session.shouldfail = gave_up_text(loop.gave_up)
        elif self._unfinished or loop.ledger.twice:
            session.shouldfail = "braid: not every test has exactly one outcome, see above"
        elif loop.ledger.deaths:
            session.shouldfail = "braid: a worker died that had run no test, see above"
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _raise_interrupted(self, said: m.Interrupted) -> NoReturn:
        """As a serial run ends when a test raises an interrupt or calls ``pytest.exit``."""
        self._interruption = said
        if said.kind == "exit":
            pytest.exit(said.text, said.returncode)
        raise KeyboardInterrupt(*filter(None, [said.text]))

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self) -> None:
        """The terminal has heard of it by now and would show where this process raised it."""
        said = self._interruption
        if said is not None and said.crash is not None:
            reports.show_interruption(self._config, said.crash, said.shown)

    # --- after the tests ----------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End what is left of the fleet, the zygote at the latest."""
        if self._loop is not None and not self._loop.is_over:
            self._loop.abort()
            self._zygote.kill_spares()
        if not self._is_ended:
            self._end_zygote()
        if self._loop is not None and self._loop.interrupts.is_sigterm:
            session.exitstatus = 128 + signal.SIGTERM
        if self._loop is not None and self._loop.different:
            session.exitstatus = COLLECTIONS_DIFFER
        if self._log is not None:
            self._log.event(e.RunEnded(unfinished=tuple(self._unfinished), at=time.monotonic()))
            self._log.close()
        self._remember_nodeids(session)

    def _end_zygote(self) -> None:
        """Its session ends in order: it may be collecting, it waits for orders, or it ends of
        what it has said."""
        self._is_ending = True
        if self._made and self._waiting is None and not self._is_failed:
            self._zygote.break_off()
        self._zygote.shut_down()
        if not self._has_forked:  # its session is the only one, and counts as a worker's
            self._hear_out()
        self._is_ended = True  # or, if Ctrl-C came meanwhile, it is killed

    def _hear_out(self) -> None:
        """Until its last message: a process that a test module has forked may hold its end of the
        socket open for as long as it likes."""
        replay = self._replay()
        if self._is_heard_out:
            return
        for slot, said in self._zygote.last_messages():
            match said:
                case m.ZygoteEnded():
                    self._is_heard_out = True
                    if not self._has_forked:
                        self._take_output(slot, said.packed)
                    return
                case m.Goodbye():
                    self._take_output(slot, said.packed)
                case m.Warned():
                    self._replay_warning(replay, said)
                case _:
                    pass

    def _take_output(self, slot: int, packed: bytes | None) -> None:
        """Of who has collected and got no test."""
        if packed is not None and self._made:
            node = self._node(slot)
            node.workeroutput.update(unpack(packed))
            self._hook.pytest_testnodedown(node=node, error=None)

    def _remember_nodeids(self, session: pytest.Session) -> None:
        """``cache/nodeids`` for ``--new-first``: its plugin has not seen a collection here."""
        config = session.config
        if not self._collected or config.pluginmanager.get_plugin("nfplugin") is None:
            return
        known = set(config.cache.get("cache/nodeids", []))
        known.update(test.nodeid for test in self._tests)
        with warnings.catch_warnings():  # where nothing can be written, that plugin has said so
            warnings.simplefilter("ignore", pytest.PytestCacheWarning)
            config.cache.set("cache/nodeids", sorted(known))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Also where the session never started (an error while configuring)."""
        if self._is_ending and not self._is_ended:
            self._kill_zygote()
        status, printed = self._reap_zygote()
        if status != 0 and not (self._is_killed or self._is_told):
            # The terminal reporter has said its last.
            print(failed_at_its_end(status, printed), file=sys.stderr)  # noqa: T201
            raise SystemExit(pytest.ExitCode.INTERNAL_ERROR)

    def _reap_zygote(self) -> tuple[int, str]:
        """Its status, and what it has printed."""
        if self._reaped is not None:
            return self._reaped
        try:
            if not (self._is_ending or self._is_ended):
                self._end_zygote()
            self._hear_out()
            status = self._zygote.wait()
        except KeyboardInterrupt:
            self._kill_zygote()
            raise
        self._reaped = status, self._zygote.printed()
        self._zygote.close()
        return self._reaped

    def _kill_zygote(self) -> None:
        self._is_killed = True
        self._zygote.signal(signal.SIGKILL)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        loop = self._loop
        if loop is None:
            return
        for title, lines in (
            ("braid: interrupted while running", self._cut_lines(loop)),
            ("braid: workers that died without a test", loop.ledger.deaths),
            ("braid: tests without exactly one outcome", self._ledger_lines(loop)),
            ("braid: different tests were collected", different(self._tests, loop.different)),
        ):
            if lines:
                terminalreporter.section(title, sep="=", red=True)
                terminalreporter.write("\n".join(lines) + "\n")

    def _cut_lines(self, loop: Loop) -> list[str]:
        return [
            f"{cut.worker}: {self._nodeid(cut.test)} (after {cut.age:.2f} s)"
            for cut in loop.ledger.cut
        ]

    def _ledger_lines(self, loop: Loop) -> list[str]:
        cut = {cut.test for cut in loop.ledger.cut}
        return [
            *(f"not run: {self._named(n)}" for n in self._unfinished if n not in cut),
            *(f"ended twice: {self._named(n)}" for n in loop.ledger.twice),
        ]

    def _named(self, test: int) -> str:
        """Its node id and, in mode ``each``, the worker that began to run its copy."""
        copy = test // len(self._tests)
        of = f" (copy of gw{copy})" if self._mode is Mode.EACH else ""
        return self._nodeid(test) + of

    def _nodeid(self, test: int) -> str:
        return self._tests[test % len(self._tests)].nodeid


def failed_at_its_end(status: int, printed: str) -> str:
    return (
        "braid: the process that collected the tests, and forked the workers, failed in "
        f"pytest_unconfigure or at exit: {describe_end(status)}.\n{printed}"
    )


def gave_up_text(restarts: int) -> str:
    if restarts == 0:
        return "a worker crashed and worker restarting is disabled (--max-worker-restart=0)"
    return f"maximum crashed workers reached: {restarts} (--max-worker-restart)"


class _Text:
    """An ``excrepr`` that is already text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _key(message: Any) -> tuple[str, str, str, int]:
    return (message.category.__qualname__, str(message.message), message.filename, message.lineno)
