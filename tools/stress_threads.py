"""A stress suite in threads, held to its serial run.

    python tools/stress_threads.py --runs 10 --threads 16

Makes a suite by chance (``--seed``): fixtures of every scope, with parameters and without, some of
which fail or skip in their setup or fail in their teardown; tests that sleep, print, log, fail and
skip, and some that step aside. Runs it serially, then in threads, and compares of every test its
outcome and its output, line by line, and of every fixture how often it was set up and torn down.

Exit code 0 if all runs are the same, 1 if one is not; then its folder is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.strands import strands_of
from tools.stressing.check import Run, differences, shown
from tools.stressing.suite import Maker

INSIDE = Path(__file__).resolve().parent / "inside"
_MOST = 20
"""Differences of one run that are shown."""
_LIMIT = 600
"""Seconds that a run may take."""
_HEADING = ("run", "wall s", "tests", "in threads", "at once", "setups", "teardowns", "different")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, run, compare, print; the exit code is described above."""
    asked = _parser().parse_args(arguments)
    base = Path(asked.folder or tempfile.mkdtemp(prefix="stress-")).resolve()
    suite = base / "suite"
    suite.mkdir(parents=True)
    Maker(asked.seed, asked.tests).write(suite)
    _row(*_HEADING)
    serial = _run(suite, base / "serial", "-p", "no:braid")
    has_differences = False
    for number in range(1, asked.runs + 1):
        options = ["-p", "braid", f"--threads={asked.threads}", *asked.options]
        found = [*differences(serial, _run(suite, base / str(number), *options, serial=serial))]
        has_differences = has_differences or bool(found)
        for text in found[:_MOST]:
            print(f"  {text}", flush=True)
    if not has_differences and not asked.folder:
        shutil.rmtree(base)
    print(f"kept: {base}" if has_differences else f"{asked.runs} runs, all as the serial one")
    return int(has_differences)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a stress suite in threads, and compare.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tests", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=16, help="braid's --threads")
    parser.add_argument("--seed", type=int, default=1, help="of the suite")
    parser.add_argument("--folder", help="a new one, to keep every run in")
    parser.add_argument("options", nargs="*", help="more options of pytest, behind --")
    return parser


def _run(suite: Path, folder: Path, *options: str, serial: Run | None = None) -> Run:
    """Run the suite once, and print its row of the table."""
    folder.mkdir()
    log = folder / "log.jsonl"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "stress_notes", "-p", "no:cacheprovider"]
    more = [] if serial is None else [f"--braid-log={log}"]
    start = time.monotonic()
    status = _bounded([*command, *options, *more], suite, folder)
    seconds = time.monotonic() - start
    run = Run(_lines(folder / "reports.jsonl"), _lines(folder / "notes.jsonl"), status)
    strands = strands_of(log) if log.exists() else None
    there = shown(run)
    _row(
        folder.name,
        f"{seconds:.1f}",
        len(there.outcomes),
        strands.on_strands if strands else "",
        strands.largest if strands else "",
        there.ups.total(),
        there.downs.total(),
        len([*differences(serial, run)]) if serial else "",
    )
    return run


def _bounded(command: list[str], suite: Path, folder: Path) -> int:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    env = inherited | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(INSIDE),
        "STRESS_FOLDER": str(folder),
    }
    with (folder / "output.txt").open("wb") as output:
        done = subprocess.run(
            command, cwd=suite, env=env, stdout=output, stderr=output, timeout=_LIMIT, check=False
        )
    return done.returncode


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _row(*cells: object) -> None:
    print("".join(f"{cell!s:>12}" for cell in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
