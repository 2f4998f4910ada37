"""The session up to the tests, as hooks: what is collected becomes messages."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Generator
from typing import Any, Literal, Protocol

import pytest

from pytest_braid.model.limits import seconds_of
from pytest_braid.seam import junit, live, output, reports
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.wire.kit import Place
from pytest_braid.wire.values import pack
from pytest_braid.worker.main import MainStrand
from pytest_braid.worker.speech import Speech, Spokesman, ignore_interrupts

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
            self.speech.say(m.Recollected(tuple(item.nodeid for item in session.items)))
            return
        config = session.config
        lines = config.hook.pytest_report_collectionfinish(
            config=config, start_path=session.startpath, items=session.items
        )
        tests = tuple(map(Teller(config).test, session.items))
        config.stash[asides_key] = [test.aside for test in tests]
        self.speech.say(
            m.Collected(
                tests=tests,
                found=self._found,
                lines=tuple(_flat(lines)),
                stepwise=session_seam.stepwise_count(config),
            )
        )

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


def _group(item: pytest.Item) -> str | None:
    """The names that its ``xdist_group`` marks give, joined as by pytest-xdist."""
    names = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    return "_".join(sorted(names)) or None


def _timeout(item: pytest.Item) -> float | None:
    """The seconds that its mark ``timeout`` gives, in the words of pytest-timeout.

    Raises:
        pytest.UsageError: it gives no such number.
    """
    mark = item.get_closest_marker("timeout")
    if mark is None:
        return None
    value = mark.args[0] if mark.args else mark.kwargs.get("timeout")
    seconds = seconds_of(value)
    if seconds is None:
        raise pytest.UsageError(
            f"{item.nodeid}: its mark timeout does not say a number of seconds, but {value!r}: "
            "write @pytest.mark.timeout(3), or 0 for no limit"
        )
    return seconds


class Teller:
    """Says of the collected tests what the controller is to know. Most have none of the marks that
    matter, and of each collector that is found out once."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_by_group: bool = config.option.loadgroup
        self._has_timeouts = not session_seam.has_pytest_timeout(config)
        workerinput: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
        self._aside = _finder_of_reasons() if workerinput["threads"] else lambda _item: None
        self._inherited: dict[pytest.Collector | None, frozenset[str]] = {None: frozenset()}

    def test(self, item: pytest.Item) -> m.Test:
        names = self._names(item.parent).union(mark.name for mark in item.own_markers)
        return m.Test(
            item.nodeid,
            item.location,
            own_process="forked" in names,
            group=_group(item) if self._is_by_group else None,
            timeout=_timeout(item) if self._has_timeouts and "timeout" in names else None,
            aside=self._aside(item),
        )

    def _names(self, node: Any) -> frozenset[str]:
        """Of the marks that a collector gives to all below it."""
        if node not in self._inherited:
            own = (mark.name for mark in node.own_markers)
            self._inherited[node] = self._names(node.parent).union(own)
        return self._inherited[node]


def _finder_of_reasons() -> Callable[[pytest.Item], str | None]:
    """Imported where tests run at once, and nowhere else."""
    from pytest_braid.worker.aside import reason

    return reason


def _flat(lines: list[Any]) -> Generator[str, None, None]:
    """Hooks answer with a line or a list of lines; pytest prints the last registered first."""
    for answer in reversed(lines):
        yield from [answer] if isinstance(answer, str) else answer
