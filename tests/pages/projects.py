"""Projects as a page assumes them, in which its commands are run for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BOUND = 60.0
"""Seconds after which a command that does not end has failed its test."""

OURS = (
    *("PYTEST_", "PYTHONDONTWRITEBYTECODE", "PY_COLORS", "NO_COLOR", "FORCE_COLOR", "COLUMNS"),
    *("COV_", "CI", "MAKE", "MFLAGS"),
)
"""Beginnings of variables that a clean machine does not have."""

UV = """\
#!/bin/sh
# In the place of uv, which would make an environment: everything is installed in this one.
[ "$1" = run ] || exit 2
shift
exec "$@"
"""

NOTING = """
import os, pytest

@pytest.fixture(autouse=True)
def _noted(request):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "master")
    marks = ",".join(mark.name for mark in request.node.iter_markers())
    with open(request.config.rootpath / "ran.txt", "a") as file:
        file.write(f"{request.node.nodeid} {worker} {marks}\\n")
"""
"""A conftest that notes of each test that it runs, in which worker, and its marks."""


@dataclass(frozen=True)
class Ran:
    worker: str
    """``master`` where there are none."""
    marks: frozenset[str]

    @classmethod
    def read(cls, path: Path) -> dict[str, Ran]:
        """What ``NOTING`` has noted, by node id; each test once."""
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = {}
        for nodeid, worker, marks in (line.split(" ") for line in lines):
            assert nodeid not in found, f"{nodeid} ran twice"
            found[nodeid] = cls(worker, frozenset(marks.split(",")) - {""})
        return found


@dataclass(frozen=True)
class Done:
    exit: int
    text: str
    """What it printed, its errors among it."""
    ran: dict[str, Ran]


class Project:
    """A folder in which the commands of this environment can be run as a user would type them."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "shop"
        self.folder.mkdir()
        self._tools = base / "tools"
        self._tools.mkdir()
        self._temporary = base / "temporary"
        self._temporary.mkdir()
        uv = self._tools / "uv"
        uv.write_text(UV, encoding="utf-8")
        uv.chmod(0o755)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def sh(self, script: str, **env: str) -> Done:
        """Run what a shell understands."""
        notes = self.folder / "ran.txt"
        notes.unlink(missing_ok=True)
        with subprocess.Popen(
            ["/bin/sh", "-c", script],
            cwd=self.folder,
            env=self._environment() | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                text, _ = process.communicate(timeout=BOUND)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Done(process.returncode, text, Ran.read(notes))

    def _environment(self) -> dict[str, str]:
        """As if this suite itself did not run, under braid or under make."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        path = [str(self._tools), str(Path(sys.executable).parent), os.environ["PATH"]]
        return kept | {
            "PATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",  # errors stand where they were written, as on a terminal
            "PYTEST_DEBUG_TEMPROOT": str(self._temporary),  # others leave much in the usual one
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
