"""Run pytest-xdist's own tests from the outside with braid in its place.

    python tools/acceptance.py FOLDER [ARGS]

FOLDER holds the source distribution, which is unpacked to a temporary folder, and of which nothing
is kept. ARGS go to pytest. The runs within the tests are processes of their own, as a user's are.
The nox session ``acceptance`` fetches the distribution and installs what is needed.

``acceptance.toml``, beside this file, lists which tests fail and why. Exit code 0 if just these
do, 1 if others do or if one of them passes, 2 if the tests did not run.
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
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
FILES = ("acceptance_test.py", "test_newhooks.py", "test_plugin.py")
SECONDS = 1500


class Listed(NamedTuple):
    """The list: node ids, each with its reason. Of ``may_fail`` it is open whether they do."""

    fails: Mapping[str, str]
    may_fail: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Listed:
        """From a TOML file of two tables."""
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(tables["fails"], tables["may-fail"])


def main(arguments: Sequence[str]) -> int:
    """Unpack, run, compare, print; the exit code is described above."""
    [archive] = Path(arguments[0]).glob("pytest_xdist-*.tar.gz")
    listed = Listed.read(HERE / "acceptance.toml")
    with tempfile.TemporaryDirectory(prefix="acceptance-") as temporary:
        folder = Path(temporary)
        with tarfile.open(archive) as sdist:
            sdist.extractall(folder, filter="data")
        [tests] = folder.glob("*/testing")
        outcomes = _run(tests, folder, arguments[1:])
    if not outcomes:
        print("acceptance: no test has run")
        return 2
    for line in counts(outcomes):
        print(line)
    differences = [*compare(outcomes, listed)]
    print("\n".join(differences) or "just the tests fail that acceptance.toml lists")
    return 1 if differences else 0


def _run(tests: Path, folder: Path, arguments: Sequence[str]) -> dict[str, str]:
    """How each test ended, by node id, as ``inside/acceptance_stage.py`` notes it."""
    notes = folder / "outcomes.jsonl"
    ini = tests / "pytest.ini"  # or the one of the distribution would be found
    ini.write_text("[pytest]\n", encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pytest", "-p", "acceptance_stage", "-p", "no:cacheprovider"),
        *("-q", "--tb=short", "--runpytest=subprocess", f"--basetemp={folder / 'basetemp'}"),
        *(*FILES, *arguments),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": str(HERE / "inside"),
        "ACCEPTANCE_NOTES": str(notes),
    }
    environment.pop("CI", None)  # pytest would show more, and the tests compare what it shows
    subprocess.run(command, cwd=tests, env=environment, check=False, timeout=SECONDS)
    if not notes.exists():
        return {}
    return dict(json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines())


def counts(outcomes: Mapping[str, str]) -> Iterator[str]:
    """A line for each file. Their own marks skip some tests, or expect them to fail."""
    for file in FILES:
        ended = Counter(end for test, end in outcomes.items() if test.startswith(file))
        yield (
            f"{file}: {ended['passed']} of {ended.total()} pass, {ended['failed']} fail, "
            f"{ended['marked']} are skipped or expected to fail by their own marks"
        )


def compare(outcomes: Mapping[str, str], listed: Listed) -> Iterator[str]:
    """What is not as listed, of the tests that have run."""
    for test, outcome in outcomes.items():
        is_listed = test in listed.fails
        if outcome == "failed" and not is_listed and test not in listed.may_fail:
            yield f"fails, and is not listed: {test}"
        elif outcome != "failed" and is_listed:
            yield f"listed, and does not fail: {test} ({listed.fails[test]})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
