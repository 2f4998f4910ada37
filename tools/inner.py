"""Run pytest's own tests, with the runs inside of them in threads.

    python tools/inner.py FOLDER [ARGS]

FOLDER holds the source distribution of the installed pytest, which is unpacked to a temporary
folder, and of which nothing is kept. ARGS go to pytest. The tests run first as they are, then with
``-n 0 --threads N`` before the options of every pytest that one of them starts. The nox session
``inner`` fetches the distribution and installs what is needed.

``inner.toml``, beside this file, lists which tests end otherwise, and why. Exit code 0 if just
these do, 1 if others do, or one of them does not, or too few inner tests ran in threads; 2 if the
tests did not run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pytest_braid.report.reading import LogError
from tools.strands import strands_of

HERE = Path(__file__).resolve().parent
FILES = (
    "testing/python/fixtures.py",
    "testing/test_runner.py",
    "testing/test_skipping.py",
    "testing/test_unittest.py",
    "testing/test_capture.py",
    "testing/logging",
)
THREADS = (1, 4)
SHARE = 0.9
"""How many of the inner tests of the first file are to run in threads, at least."""
_MOST = 5
"""Reasons for the others that are shown."""
SECONDS = 1500

Outcomes = Mapping[str, str]


class Listed(NamedTuple):
    """The list, for one number of threads: node ids, each with its reason. Of ``may_differ`` it is
    open whether they do."""

    differs: Mapping[str, str]
    may_differ: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, threads: int) -> Listed:
        """From a TOML file: what differs in threads, and what does with several of them."""
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        several = threads > 1
        return cls(
            {**tables["differs"], **(tables["differs-with-several"] if several else {})},
            tables["may-differ-with-several"] if several else {},
        )


class Inner(NamedTuple):
    """What became of the inner tests of a file."""

    ran: int
    in_threads: int
    largest: int
    """How many ran at once at most."""
    reasons: Counter[str]
    """Why the others did not run in threads."""

    @property
    def share(self) -> float:
        return self.in_threads / self.ran if self.ran else 0.0

    @classmethod
    def read(cls, logs: Path) -> Inner:
        """From all event logs in a folder. A run that ended before it had begun, of a test that
        gives it a wrong option say, has left none."""
        found = []
        for log in logs.iterdir():
            with suppress(LogError):
                strands = strands_of(log)
                found += [] if strands is None else [strands]
        return cls(
            sum(one.ran for one in found),
            sum(one.on_strands for one in found),
            max((one.largest for one in found), default=0),
            sum((one.reasons() for one in found), Counter()),
        )


def main(arguments: Sequence[str]) -> int:
    """Unpack, run, compare, print; the exit code is described above."""
    [archive] = Path(arguments[0]).glob(f"pytest-{pytest.__version__}.tar.gz")
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="inner-") as temporary:
        folder = Path(temporary)
        with tarfile.open(archive) as sdist:
            sdist.extractall(folder, filter="data")
        [source] = folder.glob("pytest-*")
        for file in FILES:
            serial = _run(source, file, None, arguments[1:])
            if not serial:
                print(f"inner: no test of {file} has run")
                return 2
            for threads in THREADS:
                logs = folder / f"logs-{threads}-{FILES.index(file)}"
                logs.mkdir()
                outcomes = _run(source, file, (threads, logs), arguments[1:])
                inner = Inner.read(logs)
                print("\n".join(told(file, threads, serial, outcomes, inner)), flush=True)
                listed = Listed.read(HERE / "inner.toml", threads)
                wrong += compare(serial, outcomes, listed, threads)
                wrong += too_few(file, threads, inner)
    print("\n".join(wrong) or "just the tests differ that inner.toml lists")
    return 1 if wrong else 0


def _run(
    source: Path, file: str, threads: tuple[int, Path] | None, arguments: Sequence[str]
) -> dict[str, str]:
    """How each test ended, by node id; with so many threads inside, and the folder for their
    logs."""
    notes = source.with_name("outcomes.jsonl")
    notes.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-p", "inner_stage", "-p", "no:cacheprovider"),
        *("-p", "no:asyncio", "-q", "--tb=short"),
        *(f"--basetemp={source.with_name('basetemp')}", file, *arguments),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": str(HERE / "inside"),
        "ACCEPTANCE_NOTES": str(notes),
    }
    environment.pop("CI", None)  # pytest would show more, and the tests compare what it shows
    if threads is not None:
        count, logs = threads
        environment["INNER_OPTIONS"] = f"-p pytest_braid.plugin -n 0 --threads {count}"
        environment["INNER_LOGS"] = str(logs)
    subprocess.run(command, cwd=source, env=environment, check=False, timeout=SECONDS)
    if not notes.exists():
        return {}
    return dict(json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines())


def told(
    file: str, threads: int, serial: Outcomes, outcomes: Outcomes, inner: Inner
) -> Iterator[str]:
    """What is printed of one run."""
    passed = [test for test, end in serial.items() if end == "passed"]
    still = sum(outcomes.get(test) == "passed" for test in passed)
    yield (
        f"{file}, --threads {threads}: {still} of the {len(passed)} pass that pass serially; "
        f"{inner.in_threads} of {inner.ran} inner tests in threads ({inner.share:.0%}), "
        f"{inner.largest} at once at most"
    )
    for reason, count in inner.reasons.most_common(_MOST):
        yield f"{count:6} {reason or 'nothing said why'}"


def compare(serial: Outcomes, outcomes: Outcomes, listed: Listed, threads: int) -> Iterator[str]:
    """What is not as listed, of the tests that have run."""
    with_threads = f"with --threads {threads}"
    for test, before in serial.items():
        now = outcomes.get(test, "lost")
        is_listed = test in listed.differs
        if now != before and not is_listed and test not in listed.may_differ:
            yield f"{before}, {now} {with_threads}, and not listed: {test}"
        elif now == before and is_listed:
            reason = listed.differs[test]
            yield f"listed, and does not differ {with_threads}: {test} ({reason})"
    for test in outcomes.keys() - serial.keys():
        yield f"there only {with_threads}: {test}"


def too_few(file: str, threads: int, inner: Inner) -> Iterator[str]:
    """Where that matters: the tests of fixtures."""
    if file == FILES[0] and inner.share < SHARE:
        yield (
            f"{file}: only {inner.share:.0%} of the inner tests ran in threads with "
            f"--threads {threads}, and {SHARE:.0%} are to"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
