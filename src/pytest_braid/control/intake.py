"""The collection of the run, as the process that collects tells it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

from pytest_braid.control.failures import Failures
from pytest_braid.control.fleet import Zygote, describe_end
from pytest_braid.seam import output
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.wire.values import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_braid.control.replay import Replay
    from pytest_braid.model.shares import Share

_NOT_YET = "before it collected anything"


class Intake:
    """Takes in what is collected, warned of, or reported as broken. ``show`` is called with the
    tests as soon as they are known."""

    def __init__(
        self,
        config: pytest.Config,
        failures: Failures,
        show: Callable[[pytest.Session, m.Collected], None],
    ) -> None:
        self._config = config
        self._failures = failures
        self._show = show
        self._warned: set[tuple[str, str, str, int]] = set()
        self.tests: Sequence[m.Test] = ()
        self.shares: Sequence[Share] = ()
        """What the tests share with each other, whatever process they run in."""
        self.is_known = False
        """Whether the tests are."""
        self.uncollected: set[str] = set()
        """Node ids of what could not be collected."""
        self.waiting: m.Waiting | None = None
        """What the process said that waits for orders now: the collection is over."""
        self.is_failed = False
        """Whether it has failed, and ends by itself."""
        self.is_cut = False
        """Whether its process was gone before the collection was over."""

    def note_warning(self, warning: Any) -> None:
        """The controller has been warned while it configured itself. The zygote configures the same
        plugins: what they say twice is shown once."""
        self._warned.add(_key(warning))

    def take(self, session: pytest.Session, zygote: Zygote, replay: Replay) -> None:
        """Until the process waits for orders.

        Raises:
            BaseException: what a serial run would raise in its place.
        """
        while self.waiting is None:
            said = zygote.collected()
            if said is None or isinstance(said, m.ZygoteEnded | m.Goodbye):
                self._raise_early_end(session, zygote, said)
            else:
                self._hear(session, replay, said)

    def _hear(
        self, session: pytest.Session, replay: Replay, said: m.FromZygote | m.FromWorker
    ) -> None:
        match said:
            case m.CollectReported():
                if replay.collect_report(session, said).failed:
                    self.uncollected.add(unpack(said.packed)["nodeid"])
            case m.Deselected():
                replay.deselected(session, said.nodeids)
            case m.Warned():
                self.replay_warning(replay, said)
            case m.Collected():
                self._know(session, said)
            case m.Waiting():
                self.waiting = said
                session.testscollected = len(self.tests)
            case m.UsageFailed() | m.Interrupted() | m.InternalFailed():
                self.is_failed = True
                self._failures.raise_said(said)
            case _:
                pass

    def replay_warning(self, replay: Replay, said: m.Warned) -> None:
        key = (said.bases[0].partition(":")[2], said.text, said.filename, said.lineno)
        if said.when != "config" or key not in self._warned:
            replay.warning(said)

    def is_whole(self, said: m.Collected) -> bool:
        """Whether these are all tests of their files: none was deselected or could not be
        collected, and no argument names a test."""
        if self.uncollected or said.found != len(said.tests):
            return False
        is_last_failed = getattr(self._config.option, "lf", False)  # it deselects in silence
        return not is_last_failed and not any("::" in one for one in self._config.args)

    def _know(self, session: pytest.Session, said: m.Collected) -> None:
        from pytest_braid.control.replay import Items

        self.is_known = True
        self.tests = said.tests
        self.shares = said.shares
        session.items = Items(session, said.tests)  # type: ignore[assignment]
        if said.stepwise is not None:
            session_seam.set_stepwise_count(session.config, said.stepwise)
        self._show(session, said)

    def _raise_early_end(
        self, session: pytest.Session, zygote: Zygote, said: m.ZygoteEnded | m.Goodbye | None
    ) -> None:
        """Who collects ended without a collection: as a serial run would, for the same reason."""
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        if said is None:
            self.is_cut = True
            self._failures.raise_internal(_how_it_ended(zygote))
        if isinstance(said, m.Goodbye):
            status = int(unpack(said.packed)["exitstatus"])
        else:
            status = said.exitstatus
        pytest.exit("the collection ended without a result", status)

    def remember_nodeids(self) -> None:
        """``cache/nodeids`` for ``--new-first``: its plugin has not seen a collection here."""
        config = self._config
        if not self.is_known or config.pluginmanager.get_plugin("nfplugin") is None:
            return
        known = set(config.cache.get("cache/nodeids", []))
        known.update(test.nodeid for test in self.tests)
        with warnings.catch_warnings():  # where nothing can be written, that plugin has said so
            warnings.simplefilter("ignore", pytest.PytestCacheWarning)
            config.cache.set("cache/nodeids", sorted(known))


def say_collected(session: pytest.Session, said: m.Collected) -> None:
    """What the terminal says of a collection."""
    output.show_collected(session.config, said.found)
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or session.config.option.verbose < 0:
        return
    for line in said.lines:
        reporter.write_line(line)


def _how_it_ended(zygote: Zygote) -> str:
    death = zygote.collector()
    how = describe_end(death.status)
    where = f"while it collected {death.place!r}" if death.place else _NOT_YET
    return (
        f"braid: the process that collects the tests is gone: {how}, {where}. Run with -n 0 "
        f"to see more.\n{death.printed}"
    )


def _key(message: Any) -> tuple[str, str, str, int]:
    return (message.category.__qualname__, str(message.message), message.filename, message.lineno)
