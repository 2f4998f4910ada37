"""The controller as a pytest plugin: its session collects nothing and runs nothing itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from msgspec.structs import replace

from pytest_braid.control.audience import Audience
from pytest_braid.control.ending import Ending
from pytest_braid.control.failures import Failures
from pytest_braid.control.fleet import Zygote, describe_end, make_room
from pytest_braid.control.foreign import Foreign, refuse_remote_modules, scheduling
from pytest_braid.control.intake import Intake, say_collected
from pytest_braid.control.interrupts import interrupts_held
from pytest_braid.control.log import EventLog
from pytest_braid.control.memory import Memory
from pytest_braid.control.meter import Meter
from pytest_braid.control.node import Node, NodeManager, Spec, host_node
from pytest_braid.control.resources import fitted
from pytest_braid.control.sharers import users_of
from pytest_braid.control.spawner import Spawner, make_spawner, require_spawnable
from pytest_braid.control.tails import (
    write_explanation,
    write_strands,
    write_timelines,
    write_verdict,
)
from pytest_braid.control.texts import (
    COLLECTIONS_DIFFER,
    failed_at_its_end,
    gave_up_at_last,
    gave_up_text,
    not_adaptive,
    refusal,
    spawned_instead,
)
from pytest_braid.model import events as e
from pytest_braid.model.estimates import Estimates
from pytest_braid.model.limits import Limit
from pytest_braid.model.needs import PLAIN
from pytest_braid.model.tests import Mode, SchedulerSettings
from pytest_braid.report.account import Account
from pytest_braid.report.advice import Advice, Way
from pytest_braid.report.story import Story
from pytest_braid.report.strands import Strands
from pytest_braid.report.verdict import Machine
from pytest_braid.report.waits import Waits
from pytest_braid.seam import below, output
from pytest_braid.seam import session as session_seam
from pytest_braid.seam.identity import mistaken
from pytest_braid.seam.live import share_log_file
from pytest_braid.wire import messages as m
from pytest_braid.wire.values import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from pytest_braid.control.loop import Loop
    from pytest_braid.control.progress import Shown
    from pytest_braid.control.replay import Replay
    from pytest_braid.control.shared import SharedFixtures
    from pytest_braid.control.summary import Summary
    from pytest_braid.schedule.scheduler import Scheduler


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
    def is_cautious(self) -> bool: ...
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
    @property
    def resources(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def is_mp(self) -> bool: ...
    @property
    def explain(self) -> str | None: ...
    @property
    def threads(self) -> int: ...
    @property
    def timeline(self) -> tuple[Path, ...]: ...
    @property
    def progress(self) -> str: ...
    @property
    def history(self) -> str: ...
    @property
    def most_workers(self) -> int | None: ...
    @property
    def cores(self) -> int: ...
    @property
    def faster(self) -> tuple[tuple[str, int], ...]: ...
    @property
    def keeps_order(self) -> bool: ...
    @property
    def tasks(self) -> int: ...
    def for_workers(self) -> dict[str, Any]: ...


class Controller:
    """Registered as ``dsession``, the name under which plugins look for xdist's."""

    def __init__(
        self, config: pytest.Config, settings: Settings, zygote: Zygote, held: Sequence[str]
    ) -> None:
        self._config = config
        self._hook: Any = config.hook
        self._settings = settings
        self._mode = Mode(settings.mode)
        self._mode_name = ""
        """What ``-v`` calls it."""
        self._zygote = zygote
        self._held = held
        """Reasons against forking from this process."""
        self._nodes = NodeManager(config, settings.testrun_uid, settings.for_workers())
        self._made: dict[int, Node] = {}
        self._failures = Failures(config)
        self._intake = Intake(config, self._failures, self._show_collected)
        self._ending = Ending(zygote, self._hear_last)
        self._has_forked = False
        self._scheduler: Scheduler | None = None
        self._loop: Loop | None = None
        self._summary: Summary | None = None
        self._audience = Audience()
        self._story: Story | None = None
        self._account = Account(dict(settings.resources))
        self._memory = Memory(config, settings.history)
        self._advice: Advice | None = None
        self._estimates = Estimates()
        self._waits: Waits | None = None
        self._strands: Strands | None = None
        self._unfinished: list[int] = []

    # --- before the tests ---------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False  # results of several files come in between each other
        share_log_file(config)
        self._find_fixtures = session_seam.take_over_fixtures(config)
        if not isinstance(self._zygote, Spawner):
            self._zygote.send(m.Configure())

    def pytest_report_header(self) -> list[str]:
        lines = [f"braid: {self._settings.note}"] if self._settings.note else []
        lines += spawned_instead(self._held).splitlines() if self._held else []
        return [*lines, *self._notes_of_growth()]

    def _notes_of_growth(self) -> list[str]:
        if self._settings.most_workers is None or self._most_workers is not None:
            return []
        return [not_adaptive(self._settings.workers)]

    @pytest.hookimpl
    def pytest_warning_recorded(self, warning_message: Any, when: str) -> None:
        if when == "config":
            self._intake.note_warning(warning_message)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> Generator[None, Any, None]:
        if self._find_fixtures is not None:  # nobody collects here
            session_seam.find_fixtures_late(session, self._find_fixtures)
        yield
        self._begin(session)

    def _begin(self, session: pytest.Session) -> None:
        if self._settings.log is not None:
            self._audience.write(EventLog(self._settings.log))
        if self._settings.timeline or self._settings.explain:
            self._story = Story()
            self._audience.join(self._story, hears_reports=True)
        self._audience.join(self._account)
        self._memory.join(self._audience)
        if self._settings.faster:
            ways = tuple(Way(*way) for way in self._settings.faster)
            self._advice = Advice(ways, self._settings.cores)
            self._audience.join(self._advice)
        self._audience.event(
            e.RunStarted(
                run=self._settings.testrun_uid,
                workers=self._settings.workers,
                mode=self._mode,
                wall=time.time(),
                at=time.monotonic(),
                threads=self._settings.threads,
                tasks=self._settings.tasks,
            )
        )
        refuse_remote_modules(session.config)
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
            workers = self._settings.most_workers or self._settings.workers
            node = Node(self._nodes, slot, workers)
            self._hook.pytest_xdist_newgateway(gateway=node.gateway)
            self._hook.pytest_configure_node(node=node)
            self._made[slot] = node
        return self._made[slot]

    # --- collection ---------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Wait for what the zygote collects."""
        output.show_collecting(session.config)
        with interrupts_held():  # the traceback of a half imported module breaks pytest's report
            import_what_follows()
            self._memory.read()
        try:
            self._intake.take(session, self._zygote, self._replay())
        finally:
            if self._intake.is_cut and self._settings.max_restarts == 0:
                session.shouldfail = gave_up_at_last(gave_up_text(0, self._node(0).gateway.id))
        return True

    def _show_collected(self, session: pytest.Session, said: m.Collected) -> None:
        asides: tuple[str | None, ...] = ()
        if self._settings.threads or self._settings.tasks:
            asides = tuple(test.aside for test in said.tests)
            self._strands = Strands(asides, self._settings.threads, self._settings.tasks)
            self._audience.join(self._strands)
        how = scheduling(self._config, self._mode)
        limits = dict(self._settings.resources)
        strands = self._settings.workers * self._strands_of_worker()
        tests, notes = fitted(said.tests, limits, strands)
        self._estimates = self._memory.estimates(said, is_whole=self._intake.is_whole(said))
        self._scheduler = self._make_scheduler(said, tests, how, self._estimates)
        self._mode_name = how.name
        self._tell_tests(tests, asides)
        groups = {test.nodeid: test.group for test in tests if test.group is not None}
        output.name_groups(self._config, groups)
        say_collected(session, replace(said, lines=(*said.lines, *notes)))

    def _tell_tests(self, tests: Sequence[m.Test], asides: tuple[str | None, ...]) -> None:
        """To all that want to hear of the run."""
        needs = {n: test.needs for n, test in enumerate(tests) if test.needs != PLAIN}
        nodeids = tuple(test.nodeid for test in tests)
        if self._settings.explain is not None:
            self._waits = Waits(nodeids, needs)
            self._audience.join(self._waits)
        at = time.monotonic()
        self._audience.event(e.TestsCollected(nodeids=nodeids, asides=asides, needs=needs, at=at))

    def _strands_of_worker(self) -> int:
        """How many tests a worker runs at once. Those that are neither for threads nor for tasks
        have the main one."""
        return max(1, self._settings.threads + self._settings.tasks)

    def _show_started(self, workers: int) -> None:
        wanted, tests = self._settings.workers, len(self._intake.tests)
        output.say_started(self._config, workers, wanted, tests, self._mode_name)

    def _make_scheduler(
        self, said: m.Collected, tests: Sequence[m.Test], how: Foreign, estimates: Estimates
    ) -> Scheduler:
        from pytest_braid.control.units import specs_of, specs_of_groups
        from pytest_braid.schedule.scheduler import Scheduler

        wanted, self._mode = self._settings, how.mode
        settings = SchedulerSettings(
            workers=wanted.workers,
            mode=self._mode,
            max_restarts=wanted.max_restarts,
            reorder=wanted.reorder,
            max_chunk=wanted.max_chunk,
            is_cautious=wanted.is_cautious,
            max_tests_per_worker=wanted.max_tests,
            resources=wanted.resources,
            tells_waits=True,
            strands=self._strands_of_worker(),
            keeps_order=wanted.keeps_order or said.keeps_order,
            first=said.first,
            most_workers=self._most_workers,
        )
        if wanted.is_mp:
            specs = specs_of_groups(tests)
        else:
            specs = specs_of(tests, self._mode, wanted.workers, how.split)
        if wanted.is_mp or (self._mode.by_unit and self._mode is not Mode.EACH):
            self._account.units = {spec.index: spec.unit for spec in specs if spec.unit is not None}
        return Scheduler(specs, settings, estimates)

    # --- the tests ----------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(
                f"{session.testsfailed} error{'s' if session.testsfailed != 1 else ''} during "
                "collection"
            )
        if not self._intake.tests:
            return True
        make_room(self._settings.most_workers or self._settings.workers)
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

    @property
    def _most_workers(self) -> int | None:
        """A worker that is not forked costs seconds and a whole collection: none is added."""
        return None if isinstance(self._zygote, Spawner) else self._settings.most_workers

    def _reasons_against_forking(self) -> list[str]:
        """``--start-method fork`` insists where nothing can break but what the project does."""
        waiting = self._intake.waiting
        assert waiting is not None
        assert self._scheduler is not None
        if isinstance(self._zygote, Spawner):
            return []
        reasons = [*waiting.reasons]
        if self._settings.start_method != "fork":
            inputs = [self._node(slot).workerinput for slot in range(self._scheduler.slots)]
            reasons += [*waiting.doubts, *mistaken(waiting.asked, inputs)]
        return reasons

    def _spawn_instead(self, reasons: Sequence[str]) -> None:
        """End the zygote, and with it all that it holds, before others begin what it has begun."""
        require_spawnable(self._config, reasons)
        output.say(self._config, spawned_instead(reasons))
        self._end_zygote()
        status, printed = self._ending.reap()
        if status:
            self._failures.raise_internal(failed_at_its_end(status, printed))
        spawner = make_spawner(
            self._config, self._zygote.live, reasons, redirect=not self._settings.live
        )
        spawner.know_collection(self._basetemp())
        self._zygote = spawner
        for line in self._notes_of_growth():
            output.say(self._config, line)
        self._ending = Ending(spawner, self._hear_last)

    def _replay(self) -> Replay:
        from pytest_braid.control.replay import Replay

        return Replay(self._config, self._intake.tests)

    def _make_loop(self, session: pytest.Session) -> Loop:
        from pytest_braid.control.loop import Loop
        from pytest_braid.control.summary import Summary
        from pytest_braid.control.watch import Limits

        assert self._scheduler is not None
        if not isinstance(self._zygote, Spawner):
            self._zygote.live.expect(self._most_workers or self._scheduler.slots)
        is_each = self._mode is Mode.EACH
        tests = self._intake.tests
        loop = Loop(
            session,
            zygote=self._zygote,
            scheduler=self._scheduler,
            replay=self._replay(),
            tests=tests,
            uncollected=self._intake.uncollected,
            copies=self._settings.workers if is_each else 1,
            make_node=self._node,
            share=self._share,
            limits=Limits(
                self._settings.limit,
                session_seam.has_pytest_timeout(session.config),
                self._settings.threads + 1 if self._settings.tasks else None,
            ),
            audience=self._audience,
            progress=self._show_progress(len(tests) * (self._settings.workers if is_each else 1)),
            started=self._show_started,
            meter=None if self._most_workers is None else Meter(self._settings.cores),
        )
        self._summary = Summary(tests, loop.ledger, loop.different, has_copies=is_each)
        return loop

    def _share(self, **beside: Any) -> SharedFixtures:
        from pytest_braid.control.shared import SharedFixtures

        copies = self._settings.workers if self._mode is Mode.EACH else 1
        tests = self._intake.tests
        users, askers = users_of(tests, copies)
        return SharedFixtures(
            tests=tests,
            shares=self._intake.shares,
            users=users,
            askers=askers,
            make_node=partial(host_node, self._node(0)),
            is_spawned=isinstance(self._zygote, Spawner),
            **beside,
        )

    def _show_progress(self, total: int) -> Shown | None:
        """How far the run is; from now on, if at all."""
        from pytest_braid.control.progress import Failures, shown
        from pytest_braid.report.progress import Progress

        nodeids = [test.nodeid for test in self._intake.tests]
        by_count = below.progress_style(self._config) == "count"
        progress = Progress(nodeids, total, self._estimates.durations, by_count=by_count)
        found = shown(self._config, self._settings.progress, progress)
        if found is not None:
            self._audience.join(progress)
            self._config.pluginmanager.register(Failures(progress), "braid-failures")
        return found

    def _raise_end(self, session: pytest.Session, loop: Loop) -> None:
        """Why the run ended, if not because all tests were done; the worst reason first."""
        if loop.usage_errors:
            raise pytest.UsageError(*loop.usage_errors)
        for text in loop.internal_errors:
            self._failures.raise_internal(text)
        if loop.zygote_died:
            assert self._summary is not None
            how = describe_end(self._zygote.wait())
            lines = (*self._summary.cut(), *self._summary.unaccounted(self._unfinished))
            self._failures.raise_internal(
                f"braid: the process that forks the workers is gone: {how}. No test can be "
                f"started any more.\n{self._zygote.printed()}\n" + "\n".join(lines)
            )
        if loop.different:
            names = " and ".join(loop.different)
            session.shouldfail = f"{names} collected other tests, see above"
            raise session.Failed(session.shouldfail)
        if loop.interrupts.said is not None:
            self._failures.raise_interrupted(loop.interrupts.said)
        self._raise_stop(session, loop)

    def _raise_stop(self, session: pytest.Session, loop: Loop) -> None:
        if loop.gave_up is not None and self._unfinished:
            session.shouldfail = gave_up_at_last(loop.gave_up)
        elif self._unfinished or loop.ledger.twice:
            session.shouldfail = "braid: not every test has exactly one outcome, see above"
        elif loop.ledger.deaths:
            session.shouldfail = "braid: a worker died that had run no test, see above"
        elif loop.ledger.losses:
            session.shouldfail = "braid: a shared fixture was not cleaned up, see above"
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self) -> None:
        self._failures.show_interruption()

    # --- after the tests ----------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        if self._loop is None or self._loop.is_over:
            session_seam.forget_unused_basetemp(self._config)
        try:
            return (yield)
        finally:
            self._end(session)

    def _end(self, session: pytest.Session) -> None:
        """End what is left of the fleet, the zygote at the latest."""
        if self._loop is not None and not self._loop.is_over:
            self._loop.abort()
            self._zygote.kill_spares()
        if not self._ending.is_over:
            self._end_zygote()
        if self._loop is not None and self._loop.interrupts.is_sigterm:
            session.exitstatus = 128 + signal.SIGTERM
        if self._loop is not None and self._loop.different:
            session.exitstatus = COLLECTIONS_DIFFER
        self._audience.event(e.RunEnded(unfinished=tuple(self._unfinished), at=time.monotonic()))
        self._audience.close()
        if self._story is not None:
            write_timelines(self._story, self._settings.timeline)
        self._memory.write()
        self._intake.remember_nodeids()

    def _end_zygote(self) -> None:
        """If it has not forked, its session is the only one, and counts as a worker's."""
        intake = self._intake
        is_collecting = bool(self._made) and intake.waiting is None and not intake.is_failed
        self._ending.begin(is_collecting=is_collecting, hear_out=not self._has_forked)

    def _hear_last(self, slot: int, said: m.FromZygote | m.FromWorker) -> None:
        match said:
            case m.ZygoteEnded() if not self._has_forked:
                self._take_output(slot, said.packed)
            case m.Goodbye():
                self._take_output(slot, said.packed)
            case m.Warned():
                self._intake.replay_warning(self._replay(), said)
            case _:
                pass

    def _take_output(self, slot: int, packed: bytes | None) -> None:
        """Of who has collected and got no test."""
        if packed is not None and self._made:
            node = self._node(slot)
            node.workeroutput.update(unpack(packed))
            self._hook.pytest_testnodedown(node=node, error=None)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Also where the session never started (an error while configuring)."""
        if self._ending.is_begun and not self._ending.is_over:
            self._ending.kill()
        status, printed = self._reap_zygote()
        if status != 0 and not (self._ending.is_killed or self._failures.is_told):
            # The terminal reporter has said its last.
            print(failed_at_its_end(status, printed), file=sys.stderr)  # noqa: T201
            raise SystemExit(pytest.ExitCode.INTERNAL_ERROR)

    def _reap_zygote(self) -> tuple[int, str]:
        if not self._ending.is_begun:
            try:
                self._end_zygote()
            except KeyboardInterrupt:
                self._ending.kill()
                raise
        return self._ending.reap()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._summary is not None:
            self._summary.write(terminalreporter, self._unfinished)
        found = (self._story if self._settings.explain else None, self._strands, self._waits)
        readers = [reader for reader in found if reader is not None]
        nodeids = [test.nodeid for test in self._intake.tests]
        if self._settings.explain is not None and readers:
            write_explanation(terminalreporter, nodeids, self._settings.explain, readers)
        if self._strands is not None:
            write_strands(terminalreporter, self._strands, nodeids)
        if self._loop is not None:
            self._account.close()
            advice = None if self._unfinished else self._advice
            write_verdict(terminalreporter, self._account, self._machine(), advice)
        if self._loop is not None and self._loop.gave_up is not None and not self._unfinished:
            terminalreporter.write_sep("=", gave_up_at_last(self._loop.gave_up), red=True)

    def _machine(self) -> Machine:
        return Machine(
            cores=self._settings.cores,
            knows_order=bool(self._estimates.durations),
            load=os.getloadavg()[0],
            is_spawned=isinstance(self._zygote, Spawner),
            mode=str(self._mode),
            learns=self._settings.history == "on",
        )


def import_what_follows() -> None:
    """While the zygote collects: before, it waits for us, and behind that all wait for us."""
    from pytest_braid.control import loop, progress, replay, shared, summary, units
    from pytest_braid.schedule import scheduler

    _ = loop, progress, replay, shared, summary, units, scheduler
