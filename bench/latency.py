"""How long a worker takes to be there, and how many tests ran at once, by the log that
``--braid-log`` writes. Pure.

The names of braid's events are in this module alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

ORDERED = "StartWorker"
"""A command, logged when it is carried out: the zygote is asked for a worker."""
READY = "WorkerReady"
DIED = "WorkerDied"
TEST_STARTED = "Started"
TEST_FINISHED = "Finished"

LogEvent = Mapping[str, Any]


def parse_log(text: str) -> list[LogEvent]:
    """The events of a log, one JSON object a line; a broken last line is left out."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    return [json.loads(line) for line in lines]


def fork_to_ready(events: Iterable[LogEvent]) -> list[float]:
    """Seconds from the order of each worker to its word that it is ready."""
    ordered: dict[int, float] = {}
    taken = []
    for event in events:
        if event["type"] == ORDERED:
            ordered[event["worker"]] = event["at"]
        elif event["type"] == READY:
            taken.append(event["at"] - ordered[event["worker"]])
    return taken


def death_to_next_test(events: Iterable[LogEvent]) -> float:
    """Seconds from the end of a killed worker's socket to the first test of its successor.

    The successor is the first worker to start a test that was not ready at the death.

    :raises ValueError: if no worker died, or none followed.
    """
    ready: set[int] = set()
    died: float | None = None
    for event in events:
        if event["type"] == READY and died is None:
            ready.add(event["worker"])
        elif event["type"] == DIED and died is None:
            died = event["at"]
        elif event["type"] == TEST_STARTED and died is not None and event["worker"] not in ready:
            return float(event["at"] - died)
    raise ValueError("no worker died, or no successor started a test")


def largest_overlap(events: Iterable[LogEvent]) -> int:
    """Most tests that ran at the same time."""
    running = largest = 0
    for event in events:
        running += (event["type"] == TEST_STARTED) - (event["type"] == TEST_FINISHED)
        largest = max(largest, running)
    return largest
