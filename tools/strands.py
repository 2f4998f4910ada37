"""Which share of a run's tests ran in threads, how many at once, and why the rest did not.

    pytest --threads 8 --braid-log run.jsonl
    python tools/strands.py run.jsonl [more.jsonl ...]

Reads event logs, of which several are counted as one run.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from pytest_braid.model import events as e
from pytest_braid.report.reading import read_log
from pytest_braid.report.strands import Strands


class Reader:
    """What a log says of strands: nothing if it was broken off before the collection."""

    found: Strands | None = None

    def event(self, event: Any) -> None:
        if isinstance(event, e.TestsCollected):
            self.found = Strands(event.asides)
        elif self.found is not None:
            self.found.event(event)

    def command(self, command: object, at: float) -> None: ...


def strands_of(log: Path) -> Strands | None:
    """What a log says of strands; ``None`` if it was broken off before the collection."""
    reader = Reader()
    read_log(log, reader)
    return reader.found


def main() -> None:
    """Print the figures of all logs together."""
    parser = argparse.ArgumentParser(description="Which share of a run's tests ran in threads.")
    parser.add_argument("logs", nargs="+", type=Path, help="event logs (--braid-log) of one run")
    paths: list[Path] = parser.parse_args().logs
    logs = [found for path in paths if (found := strands_of(path)) is not None]
    ran, on_strands = sum(log.ran for log in logs), sum(log.on_strands for log in logs)
    reasons: Counter[str] = sum((log.reasons() for log in logs), Counter())
    share = 100 * on_strands / ran if ran else 0.0
    print(f"{on_strands} of {ran} tests in threads ({share:.1f}%)")
    print(f"largest overlap in a worker: {max((log.largest for log in logs), default=0)}")
    for reason, count in reasons.most_common():
        print(f"{count:6} {reason or '(no reason: one test at a time)'}")


if __name__ == "__main__":
    main()
