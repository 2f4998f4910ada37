"""Run the async suites of known projects serially and with tasks, and compare.

    python tools/async_suites.py FOLDER                  all of them
    python tools/async_suites.py FOLDER janus aiofiles   some
    python tools/async_suites.py FOLDER --options="-n 2 --tasks 20"

FOLDER keeps a virtual environment with what the suites need, and their source distributions, which
hold their tests; both come from PyPI at the first time. Of each suite: what differs from two serial
runs (``tools/differential.py``), how many async tests there are, how many of them ran as tasks, how
many at once at most, and why the others did not.

Exit code 0 if nothing differs and four of five async tests ran as tasks, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tarfile
import venv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pytest_braid.model import events as e
from pytest_braid.report.reading import read_log
from pytest_braid.report.strands import Strands

ROOT = Path(__file__).resolve().parents[1]

WANTED = 0.8
"""The share of async tests that are to run as tasks."""


class Suite(NamedTuple):
    """A project, at the release whose tests are known to pass serially."""

    name: str
    version: str
    needs: tuple[str, ...] = ()
    """What its tests need besides."""
    arguments: tuple[str, ...] = ("tests",)
    """Of pytest, in the unpacked distribution."""
    shared: tuple[str, ...] = ()
    """Files whose tests all use the same thing, such as one folder, and so run one at a time
    (``resource_lock``)."""


SUITES = (
    Suite(
        "aiofiles",
        "25.1.0",
        ("pytest-asyncio",),
        # Whoever is root may read everything, which this one does not expect.
        ("tests", "--deselect=tests/test_os.py::test_access"),
        shared=("tests/test_os.py",),  # make and remove the same files, below tests/resources
    ),
    Suite(
        "async-lru",
        "2.4.0",
        ("pytest-asyncio", "pytest-timeout"),
        # Its own options want coverage, and a release of pytest-asyncio that does not warn.
        ("tests", "-oaddopts=", "-oasyncio_default_fixture_loop_scope=function"),
    ),
    Suite(
        "janus",
        "2.0.0",
        ("pytest-asyncio",),
        # pytest-codspeed and its measurements, which are no tests.
        ("tests", "--ignore=tests/test_benchmarks.py", "-oaddopts="),
    ),
    Suite("async-timeout", "5.0.1", ("pytest-asyncio",), ("tests", "-oaddopts=")),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, run, compare, print; the exit code is described above."""
    asked = _parser().parse_args(arguments)
    folder = Path(asked.folder).resolve()
    suites = [suite for suite in SUITES if suite.name in asked.names or not asked.names]
    python = _environment(folder)
    results = [_try(suite, folder, python, asked.options) for suite in suites]
    return 0 if all(results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run async suites serially and with tasks.")
    parser.add_argument("folder", help="where the environment and the suites are kept")
    parser.add_argument("names", nargs="*", help="suites; all, without a name")
    parser.add_argument("--options", default="--tasks 20", help="of the run with braid")
    return parser


# --- installing -------------------------------------------------------------------------------


def _environment(folder: Path) -> Path:
    """The interpreter of an environment with all suites and this project."""
    python = folder / "env" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "env", with_pip=True)
        wanted = {f"{suite.name}=={suite.version}" for suite in SUITES}
        needs = {need for suite in SUITES for need in suite.needs}
        _pip(python, "install", *sorted(wanted | needs))
        _pip(python, "install", "--editable", str(ROOT))
    return python


def _pip(python: Path, *words: str) -> None:
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        *words,
    ]
    subprocess.run(command, check=True)


def _unpacked(suite: Suite, folder: Path, python: Path) -> Path:
    """The folder of its source distribution."""
    place = folder / suite.name
    if not place.exists():
        wanted = f"{suite.name}=={suite.version}"
        _pip(
            *(python, "download", "--no-deps", "--no-binary", suite.name),
            *("--dest", str(place), wanted),
        )
        [archive] = place.glob("*.tar.gz")
        with tarfile.open(archive) as sdist:
            sdist.extractall(place, filter="data")
    [found] = [each for each in place.iterdir() if each.is_dir()]
    return found


# --- running ----------------------------------------------------------------------------------


def _try(suite: Suite, folder: Path, python: Path, options: str) -> bool:
    print(f"\n{suite.name} {suite.version}", flush=True)
    suite_folder = _unpacked(suite, folder, python)
    records = folder / f"{suite.name}-records"
    records.mkdir(exist_ok=True)
    log, notes = records / "run.jsonl", records / "async.txt"
    log.unlink(missing_ok=True)
    command: list[str | Path] = [
        *(sys.executable, ROOT / "tools" / "differential.py", "--python", python),
        *("--folder", records, f"--with={options} --braid-log={shlex.quote(str(log))}", "--"),
        *("-p", "async_notes", *suite.arguments),
    ]
    environment = os.environ | {
        "ASYNC_NOTES": str(notes),
        "ASYNC_SHARED": json.dumps(suite.shared),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    same = subprocess.run(command, cwd=suite_folder, env=environment, check=False).returncode == 0
    if not log.exists():
        return False
    found = read(log, {*notes.read_text(encoding="utf-8").splitlines()})
    print(found.told())
    return same and found.share >= WANTED


class Found(NamedTuple):
    """What a log says of async tests: how many have run, how many as tasks, and why the rest did
    not; ``largest`` is how many tests of any kind ran at once."""

    ran: int
    as_tasks: int
    largest: int
    reasons: Counter[str]

    @property
    def share(self) -> float:
        return self.as_tasks / self.ran if self.ran else 0.0

    def told(self) -> str:
        share = f"{self.as_tasks} of {self.ran} async tests ran as tasks ({self.share:.1%})"
        lines = [f"{share}, {self.largest} tests at once at most"]
        lines += [f"{count:6} {why or '(no reason)'}" for why, count in self.reasons.most_common()]
        return "\n".join(lines)


class Reader:
    """Where each test of a log has run."""

    def __init__(self) -> None:
        self.nodeids: tuple[str, ...] = ()
        self.asides: tuple[str | None, ...] = ()
        self.strands: dict[str, int] = {}
        self.overlap = Strands(())

    def event(self, event: Any) -> None:
        match event:
            case e.TestsCollected():
                self.nodeids, self.asides = event.nodeids, event.asides
            case e.Started():
                self.strands[self.nodeids[event.test % len(self.nodeids)]] = event.strand
                self.overlap.event(event)
            case e.Finished():
                self.overlap.event(event)
            case _:
                pass

    def command(self, command: object, at: float) -> None: ...


def read(log: Path, asynchronous: set[str]) -> Found:
    """From an event log, and the node ids of async tests."""
    reader = Reader()
    read_log(log, reader)
    ran = {nodeid: strand for nodeid, strand in reader.strands.items() if nodeid in asynchronous}
    why = dict(zip(reader.nodeids, reader.asides, strict=False))
    return Found(
        len(ran),
        sum(strand > 0 for strand in ran.values()),
        reader.overlap.largest,
        Counter(why.get(nodeid) or "" for nodeid, strand in ran.items() if not strand),
    )


if __name__ == "__main__":
    sys.exit(main())
