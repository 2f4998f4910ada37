"""What readers of the run have to say at the end of the terminal's output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_braid.report.account import Account
from pytest_braid.report.advice import Advice
from pytest_braid.report.explain import Reader, explain
from pytest_braid.report.story import Story
from pytest_braid.report.strands import Strands
from pytest_braid.report.timeline import write_timeline
from pytest_braid.report.verdict import Machine, verdict
from pytest_braid.report.waits import Waits


def write_explanation(
    reporter: pytest.TerminalReporter,
    nodeids: Sequence[str],
    chosen: str,
    readers: Sequence[Reader],
) -> None:
    """``--braid-explain``: of the tests whose node ids begin with ``chosen``."""
    knows_more = any(not isinstance(reader, Waits) for reader in readers)
    title = "how tests ran, and what they waited for" if knows_more else "what tests waited for"
    reporter.section(f"braid: {title}", sep="=")
    reporter.write("\n".join(explain(nodeids, chosen, readers)) + "\n")


def write_strands(
    reporter: pytest.TerminalReporter, strands: Strands, nodeids: Sequence[str]
) -> None:
    """How many tests really ran at once, and which kept the others from that."""
    if strands.blocked:
        reporter.section("braid: the event loop was blocked", sep="=", yellow=True)
        reporter.write("\n".join(strands.blocks(nodeids)) + "\n")
    if strands.ran and reporter.verbosity >= 0:
        for line in strands.summary():
            reporter.write_line(line)


def write_verdict(
    reporter: pytest.TerminalReporter, account: Account, machine: Machine, advice: Advice | None
) -> None:
    """What the run gained, and what would help most."""
    if reporter.verbosity >= 0:
        for line in verdict(account, machine, advice):
            reporter.write_line(line)


def write_timelines(story: Story, paths: Sequence[Path]) -> None:
    """``--braid-timeline``. A run does not fail because its picture cannot be written."""
    for path in paths:
        try:
            write_timeline(story, path)
        except OSError as error:
            sys.stderr.write(f"braid: the timeline {str(path)!r} could not be written: {error}\n")
