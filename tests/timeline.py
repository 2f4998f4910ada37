"""What an event log says of a run: which test ran when, and in which process. It knows nothing of
the scheduler, so that it can check it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any


@dataclass
class Span:
    """One run of a test, in seconds of the monotonic clock."""

    test: int
    nodeid: str
    worker: int
    """A process: no number is used twice."""
    start: float
    end: float

    @property
    def name(self) -> str:
        return self.nodeid.rpartition("::")[2]

    def overlaps(self, other: Span) -> bool:
        return self.start < other.end and other.start < self.end


class Timeline:
    """Read from the file of ``--braid-log``."""

    def __init__(self, path: Path) -> None:
        self.events: list[dict[str, Any]] = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()
        ]
        self.nodeids: list[str] = self.of("TestsCollected")[0]["nodeids"]
        self.spans = sorted(self._read_spans(), key=lambda span: span.start)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """Events and commands of these kinds, in order."""
        return [event for event in self.events if event["type"] in kinds]

    def _read_spans(self) -> Iterator[Span]:
        started: dict[tuple[int, int], float] = {}
        for event in self.of("Started", "Finished", "WorkerDied"):
            worker = event["worker"]
            if event["type"] == "Started":
                started[worker, event["test"]] = event["at"]
                continue
            is_end = event["type"] == "WorkerDied"  # of all that runs there
            for by, test in [key for key in started if key[0] == worker]:
                if is_end or test == event["test"]:
                    nodeid = self.nodeids[test % len(self.nodeids)]  # several copies, with "each"
                    yield Span(test, nodeid, by, started.pop((by, test)), event["at"])

    def overlapping(self) -> list[tuple[Span, Span]]:
        """Pairs of which one began before the other was over."""
        return [(a, b) for a, b in combinations(self.spans, 2) if a.overlaps(b)]

    def names_overlapping(self) -> set[frozenset[str]]:
        return {frozenset((a.name, b.name)) for a, b in self.overlapping()}

    def workers_of(self, *names: str) -> list[int]:
        """The processes of these tests."""
        where = {span.name: span.worker for span in self.spans}
        return [where[name] for name in names]
