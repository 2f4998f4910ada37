"""pytest's reports, as far as its own serialisation loses something."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

if TYPE_CHECKING:
    import pytest


class Rendered(TerminalRepr):
    """What another process's representation of a failure shows.

    pytest sends only those of exceptions whole; of others (doctests, missing fixtures, errors of
    collection, a plugin's own) it sends the text, which looks otherwise in summary and colours.
    """

    def __init__(self, text: str, rendering: str) -> None:
        self._text = text
        self._rendering = rendering

    def __str__(self) -> str:
        return self._text

    def toterminal(self, tw: TerminalWriter) -> None:
        tw.write(self._rendering if tw.hasmarkup else self._text + "\n")


class Interruption(Rendered):
    """What interrupted another process, as the terminal wants to hear of it."""

    def __init__(self, crash: tuple[str, int, str], shown: str) -> None:
        super().__init__(shown, shown)
        self.reprcrash = ReprFileLocation(*crash)


def show_interruption(config: pytest.Config, crash: tuple[str, int, str], shown: str) -> None:
    """Let the terminal name the place in the other process, not the one in this process."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._keyboardinterrupt_memo = Interruption(crash, shown)


def rendering(config: pytest.Config, longrepr: Any) -> str | None:
    """What ``longrepr`` writes to the terminal, if pytest would send only its text."""
    if not hasattr(longrepr, "toterminal") or (
        hasattr(longrepr, "reprtraceback") and hasattr(longrepr, "reprcrash")
    ):
        return None
    file = StringIO()
    writer = TerminalWriter(file)
    if config.pluginmanager.has_plugin("terminalreporter"):
        terminal = config.get_terminal_writer()
        writer.hasmarkup, writer.fullwidth = terminal.hasmarkup, terminal.fullwidth
    longrepr.toterminal(writer)
    return file.getvalue()


def failed_subtests(config: pytest.Config, report: Any) -> int:
    """How many failed subtests pytest 9 has noted for the test that ``report`` is of; it looks
    there when it decides on the test around them."""
    noted = _failed_subtests(config)
    return noted.get(_identity(report), 0) if noted else 0


def _failed_subtests(config: pytest.Config) -> dict[Any, int] | None:
    try:
        from _pytest.subtests import failed_subtests_key
    except ImportError:
        return None
    return config.stash.get(failed_subtests_key, None)


def _identity(report: Any) -> Any:
    return getattr(report, "id", report.nodeid)


def complete(report: Any, data: Mapping[str, Any], shown: str | None) -> None:
    """Give a report that was made of ``data`` back what it had before it was sent; ``shown`` is
    the answer of :func:`rendering` where it came from."""
    report.__dict__.pop("$report_type", None)  # pytest leaves its own note in the report
    if shown is not None:
        report.longrepr = Rendered(str(report.longrepr), shown)
    context = data.get("_subtest.context")
    if context is not None:  # or values that are texts by now would be shown as texts of texts
        object.__setattr__(report.context, "kwargs", context["kwargs"])  # a frozen dataclass


def note_failed_subtests(config: pytest.Config, report: Any, count: int) -> None:
    """Note what :func:`failed_subtests` said in the worker."""
    noted = _failed_subtests(config)
    if noted is not None:
        noted[_identity(report)] = count
