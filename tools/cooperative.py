"""Run pytest-asyncio-cooperative's own tests with braid in its place.

    git clone --branch v0.40.0 https://github.com/willemt/pytest-asyncio-cooperative FOLDER
    python tools/cooperative.py FOLDER [ARGS]

FOLDER is not changed: its ``tests`` are copied. (The source distribution on PyPI has none.) ARGS go
to pytest. The tests need pytest-custom-report and pytest-retry, of a release that works with the
installed pytest. Where the original is installed, too, braid steps around it. The runs within the
tests are processes of their own.

``cooperative.toml``, beside this file, lists which tests fail and why, and which get options, and
why. Exit code 0 if just these fail, 1 if others do or if one of them passes, 2 if the tests did not
run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.acceptance import Listed, compare

HERE = Path(__file__).resolve().parent
SECONDS = 1500


class Given(NamedTuple):
    """Options for the runs within a test, and why it gets them."""

    options: Sequence[str]
    tests: Sequence[str]
    why: str


def given_options(path: Path) -> list[Given]:
    """From the TOML file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Given(**table) for table in tables["given"]]


def main(arguments: Sequence[str]) -> int:
    """Copy, run, compare, print; the exit code is described above."""
    listed = Listed.read(HERE / "cooperative.toml")
    given = given_options(HERE / "cooperative.toml")
    with tempfile.TemporaryDirectory(prefix="cooperative-") as temporary:
        folder = Path(temporary)
        shutil.copytree(Path(arguments[0]) / "tests", folder / "tests")
        outcomes = _run(folder, given, arguments[1:])
    if not outcomes:
        print("cooperative: no test has run")
        return 2
    print(counted(outcomes))
    differences = [*compare(outcomes, listed)]
    print("\n".join(differences) or "just the tests fail that cooperative.toml lists")
    return 1 if differences else 0


def _run(folder: Path, given: Sequence[Given], arguments: Sequence[str]) -> dict[str, str]:
    """How each test ended, by node id."""
    notes = folder / "outcomes.jsonl"
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    options = {test: [*each.options] for each in given for test in each.tests}
    command = [
        *(sys.executable, "-m", "pytest", "-p", "cooperative_stage", "-p", "no:cacheprovider"),
        *("-q", "--tb=short", "--runpytest=subprocess", f"--basetemp={folder / 'basetemp'}"),
        *("--continue-on-collection-errors", "tests", *arguments),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": str(HERE / "inside"),
        "ACCEPTANCE_NOTES": str(notes),
        "COOPERATIVE_OPTIONS": json.dumps(options),
    }
    subprocess.run(command, cwd=folder, env=environment, check=False, timeout=SECONDS)
    if not notes.exists():
        return {}
    return dict(json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines())


def counted(outcomes: Mapping[str, str]) -> str:
    """In one line. Their own marks skip some tests."""
    ended = Counter(outcomes.values())
    active = ended["passed"] + ended["failed"]
    return (
        f"{ended['passed']} of {active} pass, {ended['failed']} fail, "
        f"{ended['marked']} are skipped by their own marks"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
