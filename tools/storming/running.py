"""One run of a storm: started, watched, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.storming.check import Evidence, dying
from tools.storming.plan import Plan

INSIDE = Path(__file__).resolve().parents[1] / "inside"

WALL = 180.0
"""Seconds after which a run is told not to end: many times what the longest needs."""

GONE = 10.0
"""Seconds in which a process that SIGTERM has ended is gone; it has nothing else to do."""

_MARKER = "STORM_RUN"

_TICK = 0.02
"""Seconds from one measurement of the machine's lateness to the next."""


def run(plan: Plan, files: dict[str, str], folder: Path) -> Evidence:
    """Write the suite into a new folder, run it, and kill what is left in the end."""
    suite = folder / "suite"
    suite.mkdir(parents=True)
    (folder / "tmp").mkdir()
    for name, text in files.items():
        (suite / name).write_text(text, encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(plan, indent=1), encoding="utf-8")
    marker = uuid.uuid4().hex
    try:
        with _lateness() as late:
            status = _bounded(plan, folder, marker)
        return _read(plan, folder, marker, status, max(late))
    finally:
        for process in _processes(marker):
            with contextlib.suppress(psutil.Error):
                process.kill()


def _bounded(plan: Plan, folder: Path, marker: str) -> int | None:
    """Exit code; ``None`` if it was not over in time."""
    output = folder / "output.txt"
    command = [sys.executable, "-m", "pytest", "-p", "braid", "-n", str(plan.workers)]
    command += ["-p", "differential_recorder", "-p", "storm_notes", "-p", "no:cacheprovider"]
    command += [f"--braid-log={folder / 'log.jsonl'}", f"--basetemp={folder / 'base'}"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    env = inherited | {
        _MARKER: marker,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(INSIDE),
        "DIFFERENTIAL_RECORD": str(folder / "reports.jsonl"),
        "STORM_NOTES": str(folder / "notes.jsonl"),
        "TMPDIR": str(folder / "tmp"),
    }
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, *plan.options],
            cwd=folder / "suite",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))  # many crash on purpose
        try:
            return process.wait(WALL)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def _lateness() -> Iterator[list[float]]:
    """By how many seconds a thread that wants to be woken is late, again and again."""
    late = [0.0]
    over = threading.Event()

    def measure() -> None:
        before = time.monotonic()
        while not over.wait(_TICK):
            now = time.monotonic()
            late.append(now - before - _TICK)
            before = now

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        yield late
    finally:
        over.set()
        thread.join()


def _read(plan: Plan, folder: Path, marker: str, status: int | None, lateness: float) -> Evidence:
    notes = _lines(folder / "notes.jsonl")
    alive = _processes(marker)
    ending = dying(plan, notes)
    _, left = psutil.wait_procs([each for each in alive if each.pid in ending], GONE)
    pids = {each.pid for each in alive if each.pid not in ending} | {each.pid for each in left}
    reports = [line for line in _lines(folder / "reports.jsonl") if line["hook"] == "report"]
    output = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
    return Evidence(
        _lines(folder / "log.jsonl"),
        reports,
        notes,
        _counts(output),
        status,
        lateness,
        frozenset(pids),
    )


def _lines(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _counts(output: str) -> dict[str, int]:
    """Of the terminal's last line, which a worker's last words may follow."""
    found = re.findall(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in \d.*s", output, re.MULTILINE)
    pairs = re.findall(r"(\d+) ([a-z]+)", found[-1]) if found else []
    counts = {"errors" if word == "error" else word: int(count) for count, word in pairs}
    return {word: count for word, count in counts.items() if not word.startswith("warning")}


def _processes(marker: str) -> list[psutil.Process]:
    """Those that have inherited the run's marker, and are not zombies, which have nothing."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARKER) == marker:
                found.append(process)
    return found
