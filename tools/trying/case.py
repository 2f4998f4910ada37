"""What a case is, and what is left of its runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_VARYING = (
    (re.compile(r"\x1b\[[\d;]*m"), ""),
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|us|seconds)\b( \(\d+:\d\d:\d\d\))?"), "<seconds>"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "<seconds>"),
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "<address>"),
    (re.compile(r"^\[gw\d+\] \w+ -- Python .*(\n|$)", re.MULTILINE), ""),
    (re.compile(r"(, )?'braid': '[^']*'|braid-[^,\s]+, |, braid-\S+"), ""),
    (re.compile(r"=+$|^=+", re.MULTILINE), "="),
)
_SUMMARY = re.compile(r"^= short test summary info =$", re.MULTILINE)


class Left(NamedTuple):
    """What the runs of one case have left: their folder, exit codes and standard outputs."""

    folder: Path
    exits: list[int]
    outputs: list[str]

    @property
    def text(self) -> str:
        """All outputs, without times, addresses, colours and the folder."""
        return self.steady("\n".join(self.outputs))

    def steady(self, text: str) -> str:
        """A text without what varies by nature."""
        text = text.replace(str(self.folder), "<folder>")
        for pattern, word in _VARYING:
            text = pattern.sub(word, text)
        return text

    def outcomes(self) -> list[list[str]]:
        """For each run the lines of its summary, sorted: an outcome and a node id each."""
        found = []
        for output in self.outputs:
            _, *sections = _SUMMARY.split(self.steady(output))
            found.append(sorted("".join(sections).strip().splitlines()))
        return found


class Case(NamedTuple):
    """One plugin, a suite, how it is run, and what is compared."""

    plugin: str
    """Its distribution, whose entry points are the only ones loaded."""
    compared: str
    """What ``look`` finds, in words for the table; exit codes and outcomes always count."""
    files: Mapping[str, str]
    """The suite: texts by path. ``noting.note(...)`` appends a line to the file ``notes``."""
    look: Callable[[Left], Mapping[str, Any]] = lambda _: {}
    """What is compared besides, by name."""
    steps: tuple[tuple[str, ...], ...] = ((),)
    """One run after another in one folder, each with arguments of its own."""
    beside: tuple[str, ...] = ()
    """Other distributions without which the plugin cannot be loaded."""
    parallel: tuple[str, ...] = ("-n", "2")
    """The arguments that only the run under braid has."""
    ends: str = ""
    """The name of a test that would end a serial run, which is made without it; under braid it has
    to fail, and nothing else may change."""
    shows: str = ""
    """What the output of the run under braid has to contain besides; a regular expression."""
    remark: str = ""
    """Why it differs, where that is known; for the table."""
    in_contract: bool = False
