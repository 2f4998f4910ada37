"""What readers of the run have to say at the end of the terminal's output."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_braid.report.advice import Advice
from pytest_braid.report.explain import Reader, explain
from pytest_braid.report.strands import Strands


def write_explanation(
    reporter: pytest.TerminalReporter,
    nodeids: Sequence[str],
    chosen: str,
    readers: Sequence[Reader],
) -> None:
    """``--braid-explain``: of the tests whose node ids begin with ``chosen``."""
    has_strands = any(isinstance(reader, Strands) for reader in readers)
    title = "how tests ran, and what they waited for" if has_strands else "what tests waited for"
    reporter.section(f"braid: {title}", sep="=")
    reporter.write("\n".join(explain(nodeids, chosen, readers)) + "\n")


def write_advice(reporter: pytest.TerminalReporter, advice: Advice) -> None:
    """What would have been faster."""
    line = advice.line()
    if line is not None and reporter.verbosity >= 0:
        reporter.write_line(f"braid: {line}")


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
