"""Run pytest-shared-session-scope's own tests with braid in its place.

    python tools/shared_suite.py FOLDER [ARGS]

FOLDER holds the source distribution, which is unpacked to a temporary folder, and of which nothing
is kept. ARGS go to pytest. The runs within the tests are processes of their own, as a user's are.
The nox session ``shared_suite`` fetches the distribution and installs what is needed.

``shared_suite.toml``, beside this file, lists which tests fail and why. Its expected failures must
pass. Exit code 0 if just those fail that are listed, 1 if others do or if one of them passes, 2 if
the tests did not run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.acceptance import Listed, compare

HERE = Path(__file__).resolve().parent
SECONDS = 900
EXPECTED = 42
"""Its tests without those of its private scheduler."""


def main(arguments: Sequence[str]) -> int:
    """Unpack, run, compare, print; the exit code is described above."""
    [archive] = Path(arguments[0]).glob("pytest_shared_session_scope-*.tar.gz")
    listed = Listed.read(HERE / "shared_suite.toml")
    with tempfile.TemporaryDirectory(prefix="shared-suite-") as temporary:
        with tarfile.open(archive) as sdist:
            sdist.extractall(temporary, filter="data")
        [project] = Path(temporary).glob("*/")
        outcomes = _run(project, Path(temporary, "basetemp"), arguments[1:])
    if not outcomes:
        print("shared_suite: no test has run")
        return 2
    print("\n".join(counts(outcomes)))
    differences = [*compare(outcomes, listed)]
    if len(outcomes) != EXPECTED and not arguments[1:]:
        differences.append(f"{len(outcomes)} tests have run, and not {EXPECTED}")
    print("\n".join(differences) or "just the tests fail that shared_suite.toml lists")
    return 1 if differences else 0


def _run(project: Path, basetemp: Path, arguments: Sequence[str]) -> dict[str, str]:
    """How each test ended, by node id. ``basetemp`` is not below the project, whose configuration
    would be found by the runs within the tests."""
    report = project / "outcomes.xml"
    command = [
        *(sys.executable, "-m", "pytest", "tests", "--ignore=tests/test_scheduler.py", "-n", "2"),
        *("-q", "-p", "no:cacheprovider", "--runpytest=subprocess", f"--junitxml={report}"),
        "--runxfail",
        *(f"--basetemp={basetemp}", *arguments),
    ]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "CI"))}
    subprocess.run(command, cwd=project, env=inherited, check=False, timeout=SECONDS)
    return dict(outcomes_in(report.read_text(encoding="utf-8"))) if report.exists() else {}


def outcomes_in(junit: str) -> Iterator[tuple[str, str]]:
    """Node ids and outcomes. A test that is skipped has not passed."""
    for case in ET.fromstring(junit).iter("testcase"):
        nodeid = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        has_passed = all(case.find(kind) is None for kind in ("failure", "error", "skipped"))
        yield nodeid, "passed" if has_passed else "failed"


def counts(outcomes: Mapping[str, str]) -> Iterator[str]:
    """A line for all."""
    passed = [*outcomes.values()].count("passed")
    yield f"{passed} of {len(outcomes)} pass, of which there are to be {EXPECTED}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
