"""Who competes, and the virtual environment that each has for itself."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from bench.measure import BenchError

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENTS = REPOSITORY / ".bench-venvs"
CHECKOUT = str(REPOSITORY)
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to run a suite."""

    name: str
    plugins: tuple[str, ...] = ()
    """What is installed beside pytest."""
    parallel: bool = False
    """Whether it takes ``-n``."""

    def options(self, workers: int | str) -> list[str]:
        """The options of pytest that make it compete with ``workers`` workers."""
        return ["-n", str(workers)] if self.parallel else []


PLAIN = Contender("plain")
CONTROL = Contender("control")
XDIST = Contender("xdist", ("pytest-xdist",), parallel=True)
BRAID = Contender("braid", (CHECKOUT,), parallel=True)
CONTENDERS = {contender.name: contender for contender in (PLAIN, CONTROL, XDIST, BRAID)}


@dataclass(frozen=True, slots=True)
class Installed:
    """A contender with its environment."""

    contender: Contender
    python: Path
    packages: dict[str, str]
    """Versions of all that is installed, by name."""


def install(contenders: Iterable[Contender]) -> dict[str, Installed]:
    """Make the environments of ``contenders``, or take those left by an earlier run.

    An environment is made again when Python, the requirements or the checkout have changed. All
    have the pytest of plain's environment, which always exists.

    :raises BenchError: if pip fails.
    """
    ENVIRONMENTS.mkdir(exist_ok=True)
    (ENVIRONMENTS / ".gitignore").write_text("*\n")
    plain = _install(PLAIN, ["pytest"])
    pytest = f"pytest=={plain.packages['pytest']}"
    return {
        contender.name: plain
        if contender is PLAIN
        else _install(contender, [pytest, *contender.plugins])
        for contender in contenders
    }


def clean_environment(temporary: Path) -> dict[str, str]:
    """The caller's variables without those that change what Python, pytest or a plugin do."""
    prefixes = ("PYTHON", "PYTEST", "PY_COLORS", "COV_", "COVERAGE", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return kept | {"TMPDIR": str(temporary)}


def _install(contender: Contender, requirements: Sequence[str]) -> Installed:
    directory = ENVIRONMENTS / contender.name
    python = directory / "bin" / "python"
    wanted = {"python": sys.version, "requirements": _identities(requirements)}
    note = directory / "bench.json"  # written last: without it the environment is half made
    made = json.loads(note.read_text()) if note.exists() else {}
    if made.get("wanted") != wanted:
        rmtree(directory, ignore_errors=True)
        _check_call(contender, [sys.executable, "-m", "venv", str(directory)])
        _check_call(contender, [str(python), *_PIP, "install", "--quiet", *requirements])
        made = {"wanted": wanted, "packages": _packages(contender, python)}
        note.write_text(json.dumps(made))
    return Installed(contender, python, made["packages"])


_PIP = ("-m", "pip", "--disable-pip-version-check")


def _packages(contender: Contender, python: Path) -> dict[str, str]:
    listed = _check_call(contender, [str(python), *_PIP, "list", "--format=json"])
    return {package["name"]: package["version"] for package in json.loads(listed)}


def _identities(requirements: Iterable[str]) -> list[str]:
    return [
        f"checkout {_checkout_digest()}" if requirement == CHECKOUT else requirement
        for requirement in requirements
    ]


def _checkout_digest() -> str:
    """Changes with whatever the checkout would install."""
    sources = (p for p in (REPOSITORY / "src").rglob("*") if p.suffix != ".pyc" and p.is_file())
    digest = hashlib.sha256()
    for path in (REPOSITORY / "pyproject.toml", *sorted(sources)):
        if path.exists():
            digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _check_call(contender: Contender, command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(
            f"no environment for {contender.name!r}: {' '.join(command)}\n{done.stderr.strip()}"
        )
    return done.stdout
