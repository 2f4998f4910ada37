"""The session up to the tests, as hooks: what is collected becomes messages."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Generator
from typing import Any, Literal, Protocol

import pytest

from pytest_braid.seam import junit, live, output, reports
from pytest_braid.seam import session as session_seam
from pytest_braid.seam.interpreter import freeze_what_is_left
from pytest_braid.wire import messages as m
from pytest_braid.wire.kit import Place
from pytest_braid.wire.values import pack
from pytest_braid.worker.main import MainStrand
from pytest_braid.worker.speech import Speech, Spokesman, ignore_interrupts
from pytest_braid.worker.uses import NOTHING, prepare
from pytest_braid.zygote import order
from pytest_braid.zygote.marks import Teller
from pytest_braid.zygote.shared import Shared

asides_key = pytest.StashKey[list[str | None]]()
"""Why tests step aside, in the order of the collection."""


class Life(Protocol):
    """What the hooks need of the process they are in."""

    config: pytest.Config
    speech: Speech
    markup: bool
    live_log: int | None
    """Where pytest's live log goes, if it is not to be lost."""

    def begin_configuring(self) -> None: ...
    def begin_session(self, session: pytest.Session) -> None: ...
    def begin_tests(self, session: pytest.Session) -> MainStrand | None: ...


class Configuring:
    """The first hook of the session: from here on pytest is ready for Ctrl-C."""

    def __init__(self, life: Life) -> None:
        self._life = life

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        self._life.begin_configuring()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class Collecting(Spokesman):
    """The hooks of who collects, zygote or spawned worker: what is found is told to the controller,
    or only compared (``is_reference``)."""

    def __init__(self, life: Life, place: Place, *, is_reference: bool = True) -> None:
        super().__init__(life.speech)
        self._place = place
        self._life = life
        self._is_reference = is_reference
        self._found = 0
        self._in_order: list[pytest.Item] = []
        self._remembered: dict[str, bool] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        output.quiet_terminal(config, self._life.markup)
        live.share_log_file(config)
        if self._life.markup:
            live.colour_logs(config)
        if self._life.live_log is not None:
            live.log_to(config, self._life.live_log)
        junit.take_notes(config)
        cache = getattr(config, "cache", None)
        if cache is not None:
            self._remembered = cache.get("cache/lastfailed", {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._life.begin_session(session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        ignore_interrupts()  # what follows is the end, which the controller waits for

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Reports that passed matter only to ``--last-failed``, which forgets the collector and
        remembers the tests in it."""
        freeze_what_is_left()
        tests = [node.nodeid for node in report.result if isinstance(node, pytest.Item)]
        self._found += len(tests)
        if not (self._is_reference or report.failed):
            return
        if report.passed and report.nodeid not in self._remembered:
            return
        config = self._life.config
        data = config.hook.pytest_report_to_serializable(config=config, report=report)
        shown = reports.rendering(config, report.longrepr)
        self.speech.say(m.CollectReported(pack(data), tuple(tests), shown))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        self._place.set(collector.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._in_order.append(item)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        if self._is_reference:
            self.speech.say(m.Deselected(tuple(item.nodeid for item in items)))

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: Literal["config", "collect", "runtest"],
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """What all collections warn of is told once."""
        if self._is_reference:
            super().pytest_warning_recorded(warning_message, when, nodeid, location)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not self._is_reference:
            prepare(session)
            self.speech.say(m.Recollected(tuple(item.nodeid for item in session.items)))
            return
        config = session.config
        sharing = prepare(session)
        lines = config.hook.pytest_report_collectionfinish(
            config=config, start_path=session.startpath, items=session.items
        )
        shared = Shared(session.items)
        tell = Teller(config).test
        uses = [NOTHING] * len(session.items) if sharing is None else sharing.uses
        tests = tuple(map(tell, session.items, uses, shared.of_tests))
        config.stash[asides_key] = [test.aside for test in tests]
        self.speech.say(
            m.Collected(
                tests=tests,
                found=self._found,
                lines=tuple(_flat(lines)),
                stepwise=session_seam.stepwise_count(config),
                instances=shared.instances,
                shares=() if sharing is None else tuple(sharing.shares),
                keeps_order=order.is_wanted(session, self._in_order),
                first=order.count_first(session, self._remembered),
            )
        )
        self._in_order.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Of the zygote and of every worker. The loop stands here so that a test is called with
        as many frames below it as in a serial run: recursion tests count them."""
        strand = self._life.begin_tests(session)
        if strand is not None:
            try:
                with strand.telling_failures():
                    config: Any = session.config
                    config.hook.pytest_braid_worker_started(
                        config=config, worker_id=config.workerinput["workerid"]
                    )
                    for item, nextitem in strand.tests():
                        session.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            finally:
                ignore_interrupts()  # or one could come before any hook of the session's end
        return True


def _flat(lines: list[Any]) -> Generator[str, None, None]:
    """Hooks answer with a line or a list of lines; pytest prints the last registered first."""
    for answer in reversed(lines):
        yield from [answer] if isinstance(answer, str) else answer
