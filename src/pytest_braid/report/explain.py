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
    """Lines about the tests whose node ids begin with ``chosen``. With an empty one that is about
    all of whom there is something to say."""
    found = [test for test, nodeid in enumerate(nodeids) if nodeid.startswith(chosen)]
    if not found:
        return [f"no test that ran has a node id that begins with {chosen!r}"]
    lines = [line for test in found for line in _of_test(test, nodeids, chosen, readers)]
    return lines or ["no test has waited for anything but a worker"]


def _of_test(
    test: int, nodeids: Sequence[str], chosen: str, readers: Sequence[Reader]
) -> Iterator[str]:
    lines = [line for reader in readers for line in reader.lines(test)]
    if lines or chosen:
        yield nodeids[test]
        yield from (f"  {line}" for line in lines or ["waited for nothing but a worker"])
