"""Run the suite that networkx ships in its wheel, serially and with ``-n auto``, and compare.

    make demo

Makes its own environment (.demo-venv) and needs only a Python >= 3.11 to start. Both runs see the
same environment, with bytecode written beforehand, and an empty folder as their current one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".demo-venv"
LOCK = ROOT / "locks" / "demo.txt"
SUITE = ["--pyargs", "networkx", "-q", "-p", "no:cacheprovider"]
SAMPLE = 0.2  # seconds between two looks at the memory of the tree

OUTCOME_OF = {"failure": "failed", "error": "error", "skipped": "skipped or xfailed"}
Outcomes = Counter[tuple[str, str, str]]  # (class or module, test, outcome)


class Run(NamedTuple):
    """What one run took and what it found: seconds, seconds, bytes or None, test outcomes."""

    exit_code: int
    wall: float
    cpu: float
    memory: int | None
    outcomes: Outcomes


def main() -> int:
    """Print the comparison; return 0 if both runs had the same outcomes."""
    python = environment()
    with tempfile.TemporaryDirectory(prefix="braid-demo-") as folder:
        say("collecting once, so that both runs find their bytecode written")
        warm = [python, "-m", "pytest", *SUITE, "-p", "no:braid", "--collect-only", "-qq"]
        subprocess.run(warm, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        plain = measure(python, Path(folder), "plain", "-p", "no:braid")
        braid = measure(python, Path(folder), "braid", "-n", "auto")
    return compare(plain, braid)


def environment() -> str:
    """Return the interpreter of an environment that has what the lock says, and this project."""
    python = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    say(f"installing the project, networkx, numpy and scipy into {HOME.name}")
    if not python.exists():
        venv.create(HOME, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
    own = ["--no-deps", "--no-build-isolation", "--force-reinstall", str(ROOT)]
    subprocess.run([*pip, *own], check=True)
    return str(python)


def measure(python: str, folder: Path, name: str, *options: str) -> Run:
    """Run the suite with ``options``; its output goes to a file, its last line is shown."""
    junit, output = folder / f"{name}.xml", folder / f"{name}.txt"
    command = ["pytest", *SUITE, *options]
    say(" ".join(command))
    peak: list[int] = []
    with output.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [python, "-m", *command, f"--junitxml={junit}"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        over = threading.Event()
        watch = threading.Thread(target=watch_memory, args=(process.pid, over, peak))
        watch.start()
        # Not process.wait(): wait4 also tells what the process and its descendants have used.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        over.set()
        watch.join()
    lines = output.read_text(errors="replace").splitlines()
    say("  " + (lines[-1] if lines else "no output"))
    if not junit.exists():
        print(*lines[-50:], sep="\n")
        sys.exit(f"demo: exit code {process.returncode}, and no report was written")
    cpu = used.ru_utime + used.ru_stime
    return Run(process.returncode, wall, cpu, max(peak, default=None), outcomes_in(junit))


def watch_memory(root: int, over: threading.Event, peak: list[int]) -> None:
    """Append to ``peak`` the memory of the process tree below ``root``, until it is ``over``.

    Counted as proportional set size: a page shared by four processes counts a quarter in each.
    Only Linux tells; elsewhere ``peak`` stays empty.
    """
    while not over.wait(SAMPLE):
        if total := sum(proportional_set_size(pid) for pid in tree(root)):
            peak.append(total)


def tree(root: int) -> list[int]:
    """Return ``root`` and its descendants."""
    found = [root]
    for pid in found:  # grows while it is read
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # the process has ended since
                continue
    return found


def proportional_set_size(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def outcomes_in(junit: Path) -> Outcomes:
    """Count the outcomes of a junit file; a test that failed and whose teardown failed is two."""
    found: Outcomes = Counter()
    for case in ET.parse(junit).iter("testcase"):
        outcomes = [OUTCOME_OF[part.tag] for part in case if part.tag in OUTCOME_OF] or ["passed"]
        name = case.get("classname", ""), case.get("name", "")
        found.update((*name, outcome) for outcome in outcomes)
    return found


def compare(plain: Run, braid: Run) -> int:
    """Print both runs beside each other; return the demo's exit code."""
    print()
    print(f"  {'':<18}{'plain':>12}{'-n auto':>12}")
    row("wall", plain.wall, braid.wall, "s")
    row("CPU of the tree", plain.cpu, braid.cpu, "s")
    if plain.memory and braid.memory:
        row("peak memory (PSS)", plain.memory / 2**20, braid.memory / 2**20, "MiB")
    tallies = [Counter(key[-1] for key in run.outcomes.elements()) for run in (plain, braid)]
    for outcome in sorted(tallies[0] | tallies[1]):
        print(f"  {outcome:<18}{tallies[0][outcome]:>12,}{tallies[1][outcome]:>12,}")
    print()
    print(f"  {plain.wall / braid.wall:.2f} times as fast on {cores()} cores,", end=" ")
    print(f"for {braid.cpu / plain.cpu:.2f} times the CPU.")
    if plain.outcomes == braid.outcomes and plain.exit_code == braid.exit_code:
        print(f"  The same outcome for each of {plain.outcomes.total():,} tests.")
        return 0
    print(f"  NOT the same outcomes (exit codes {plain.exit_code} and {braid.exit_code}):")
    for sign, odd in (
        ("only plain", plain.outcomes - braid.outcomes),
        ("only braid", braid.outcomes - plain.outcomes),
    ):
        for place, test, outcome in sorted(odd)[:20]:
            print(f"    {sign}: {place}::{test} {outcome}")
    return 1


def row(name: str, plain: float, braid: float, unit: str) -> None:
    print(f"  {name:<18}{plain:>8.1f} {unit:<3}{braid:>8.1f} {unit:<3}")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def say(text: str) -> None:
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
