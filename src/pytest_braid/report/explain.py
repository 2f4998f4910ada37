"""``--braid-explain``: what readers of the run have to say of single tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class Reader(Protocol):
    """Knows something of every test."""

    def lines(self, test: int) -> list[str]:
        """What there is to say of a test; nothing, if nothing is out of the ordinary."""
        ...


def explain(nodeids: Sequence[str], chosen: str, readers: Sequence[Reader]) -> list[str]:
    """Lines about the tests whose node ids begin with ``chosen``, or, if none does, have it
    somewhere in them. With an empty one that is about all of whom there is something to say."""
    found = [test for test, nodeid in enumerate(nodeids) if nodeid.startswith(chosen)]
    found = found or [test for test, nodeid in enumerate(nodeids) if chosen in nodeid]
    if not found:
        return [f"no test that ran has a node id with {chosen!r} in it"]
    lines = [line for test in found for line in _of_test(test, nodeids, chosen, readers)]
    return lines or ["no test has waited for anything but a worker"]


def _of_test(
    test: int, nodeids: Sequence[str], chosen: str, readers: Sequence[Reader]
) -> Iterator[str]:
    lines = [line for reader in readers for line in reader.lines(test)]
    if chosen and not any(line.startswith("waited") for line in lines):
        lines.append("waited for nothing but a worker")
    if lines:
        yield nodeids[test]
        yield from (f"  {line}" for line in lines)
