"""What a page shows of a run, held against the run."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

ANY = "..."
"""A line of a page that stands for any number of lines."""

_VARYING = (
    (re.compile(r"\b\d+\.\d+s\b"), "<seconds>"),
    (re.compile(r"\bgw\d+\b"), "<worker>"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "<address>"),
    (re.compile(r"(?<=/usr/lib/python3\.11/)(.+\.py\b.*?)\d+"), r"\1<line>"),
    (re.compile(r"(Current thread .*?)( \[.*\])? \("), r"\1 ("),  # Python 3.14 has its name
    (re.compile(r"(/bin/python)\d\.\d+$"), r"\1"),
    (re.compile(r"^(FAILED \S+) - .*"), r"\1"),  # of a text, pytest says it since 8.4 only
    (re.compile(r"\b(Python|pytest|pluggy)[- ]\d+(\.\d+)+"), r"\1 <version>"),
    (re.compile(r"([-=_!])\1{2,}"), r"\1\1\1"),  # as long as the line has room for
    (re.compile(r" +\[ *\d+%\]$"), " <progress>"),
)
_DOTS = re.compile(r"([.FEsxX]+)(?= <progress>$|$)")
_BESIDE = re.compile(
    r"(plugins|asyncio|cachedir|configfile): .*"
    r"|braid: (\d+ workers?( x .*)?: .* in .*|lanes were busy for .*|no order .*)"
)
"""Lines that tell of the environment, or that only runs have that take long enough."""


class Shown(NamedTuple):
    """A command, and its output as the page has it."""

    command: str
    output: list[str]


def shown(console: str) -> list[Shown]:
    """The runs of a block: each begins with a line ``$ command``."""
    runs: list[Shown] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            runs.append(Shown(line.removeprefix("$ "), []))
        else:
            runs[-1].output.append(line)
    return runs


def is_as_shown(output: list[str], printed: str, folder: Path) -> bool:
    """Whether a run in ``folder`` has printed this, but for times, places and who did what."""
    wanted = _steady("\n".join(output))
    pattern = "".join(r"(?:.*\n)*?" if line == ANY else re.escape(line) + r"\n" for line in wanted)
    found = "".join(f"{line}\n" for line in _steady(at_home(printed, folder)))
    return re.fullmatch(pattern, found) is not None


def at_home(printed: str, folder: Path) -> str:
    """As it would look to somebody who is called "me"."""
    places = {
        sysconfig.get_path("stdlib"): "/usr/lib/python3.11",
        sys.executable: "/home/me/shop/.venv/bin/python",
        str(folder): "/home/me/shop",
    }
    for place, shown_as in places.items():
        printed = printed.replace(place, shown_as)
    return printed


def _steady(text: str) -> list[str]:
    lines = [_steady_line(line.rstrip()) for line in text.strip().splitlines()]
    return [line for line in lines if line and not _BESIDE.fullmatch(line)]


def _steady_line(line: str) -> str:
    for pattern, word in _VARYING:
        line = pattern.sub(word, line)
    if line != ANY and (dots := _DOTS.match(line)):
        line = "".join(sorted(dots[1])) + line[dots.end() :]
    return line
