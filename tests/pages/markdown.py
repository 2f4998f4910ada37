"""What stands in a page of Markdown: its blocks of code, and the words that are set as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FENCE = re.compile(r"^```(\w*)$")
_HEADING = re.compile(r"^#+ (?:\d+\. )?(.+)$")
_SPAN = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block of code; ``section`` is the heading above it, without number or emphasis."""

    section: str
    language: str
    text: str


class Span(NamedTuple):
    """Words set as code in the running text."""

    section: str
    text: str


def blocks(page: str) -> list[Block]:
    return [part for part in _parts(page) if isinstance(part, Block)]


def spans(page: str) -> list[Span]:
    return [part for part in _parts(page) if isinstance(part, Span)]


def _parts(page: str) -> Iterator[Block | Span]:
    section, fence, inside = "", None, list[str]()
    for line in page.splitlines():
        if fence is not None:
            if line == "```":
                yield Block(section, fence, "".join(f"{one}\n" for one in inside))
                fence = None
            else:
                inside.append(line)
        elif match := _FENCE.match(line):
            fence, inside = match[1], []
        elif match := _HEADING.match(line):
            section = match[1].replace("*", "")
        else:
            yield from (Span(section, text) for text in _SPAN.findall(line))


def commands(text: str) -> list[str]:
    """The commands of a shell's block: its lines, without comments and blank ones."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line]
