"""Try third-party plugins: each with a small suite, serially and with braid, and compared.

    python tools/plugins.py --write       all, and docs/plugins.md has the table
    python tools/plugins.py pytest-cov    those of one plugin
    python tools/plugins.py --list        what has to be installed

No plugin is loaded but the one that is tried, and those that it needs. The nox session ``plugins``
installs the newest releases beside the built wheel and runs this.

Exit code 0 if all that is in contract is the same as in the serial run, 1 if something is not.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.trying.case import Case, Left
from tools.trying.cases import CASES, DISTRIBUTIONS, NOTING

PAGE = Path(__file__).resolve().parents[1] / "docs" / "plugins.md"
BEGIN, END = "<!-- plugins: begin -->", "<!-- plugins: end -->"

_SPAWNED = "braid: workers are spawned"
_TIMEOUT = 120
"""Seconds for one run of pytest."""


class Row(NamedTuple):
    """What came of a case; ``details`` for the terminal."""

    case: Case
    version: str
    workers: str
    result: str
    details: list[str]

    @property
    def is_same(self) -> bool:
        return self.result == "the same"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print, write; the exit code is described above."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        print(*DISTRIBUTIONS, sep="\n")
        return 0
    cases = [case for case in CASES if not asked.plugins or case.plugin in asked.plugins]
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="plugins-") as temporary,
        ThreadPoolExecutor(asked.jobs) as pool,
    ):
        base = Path(asked.folder or temporary).resolve()
        for row in pool.map(lambda i: tried(cases[i], base / str(i)), range(len(cases))):
            rows.append(row)
            print(f"{row.case.plugin} {row.version}: {row.case.compared}: {row.result}", flush=True)
            for line in row.details:
                print(f"    {line}", flush=True)
    print("", table(rows), sep="\n")
    if asked.write:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return int(any(row.case.in_contract and not row.is_same for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare plugins' serial runs with braid's.")
    parser.add_argument("plugins", nargs="*", help="distributions; all that are known if none")
    parser.add_argument("--list", action="store_true", help="print the distributions and end")
    parser.add_argument("--write", action="store_true", help=f"the table into {PAGE.name}")
    parser.add_argument("--folder", help="where to leave the suites and what their runs made")
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    return parser


# --- one case ---------------------------------------------------------------------------------


def tried(case: Case, folder: Path) -> Row:
    """Run a case both ways, in folders of the same name."""
    try:
        version = metadata.version(case.plugin)
    except metadata.PackageNotFoundError:
        return Row(case, "", "", "not installed", [])
    without = ("--deselect", f"{_file_of(case)}::{case.ends}") if case.ends else ()
    serial = _run(case, folder / "serial" / "suite", "-p", "no:braid", *without)
    braid = _run(case, folder / "braid" / "suite", "-p", "braid", *case.parallel)
    differing = dict(_differences(case, serial, braid))
    return Row(
        case,
        version,
        "spawned" if _SPAWNED in braid.text else "forked",
        _result(case, list(differing)),
        [line for name, texts in differing.items() for line in (f"{name}:", *texts)],
    )


def _file_of(case: Case) -> str:
    return next(name for name, text in case.files.items() if f"def {case.ends}(" in text)


def _run(case: Case, folder: Path, *options: str) -> Left:
    """Make the suite, and run its steps one after another."""
    for name, text in {"noting.py": NOTING, "pytest.ini": "[pytest]\n", **case.files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    left = Left(folder, [], [])
    for step in case.steps:
        command = [sys.executable, "-m", "pytest", "-rA", "-o", "pythonpath=."]
        command += [*_loading(case), *options, *step]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            left.exits.append(-1)
            left.outputs.append(f"did not end in {_TIMEOUT} s")
            continue
        left.exits.append(done.returncode)
        left.outputs.append(done.stdout)
    (folder.parent / "output.txt").write_text("\n".join(left.outputs), encoding="utf-8")
    return left


def _loading(case: Case) -> Iterator[str]:
    """``-p`` for each of its entry points, and of those of the plugins that it needs."""
    for name in (*case.beside, case.plugin):
        for entry in metadata.distribution(name).entry_points.select(group="pytest11"):
            yield from ("-p", entry.name)


def _environment(folder: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_", "COVERAGE_", "CI", "BUILD_"))
    }
    return {
        **kept,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
        "NOTES": str(folder / "notes"),
    }


# --- what differs -----------------------------------------------------------------------------


def _differences(case: Case, serial: Left, braid: Left) -> Iterator[tuple[str, list[str]]]:
    """Names of what differs, each with lines that show it."""
    expected, found = _facts(case, serial), _facts(case, braid)
    if case.ends:
        crashed = _take(found["outcomes"], case.ends)
        if not (crashed and crashed[0].startswith("FAILED")):
            yield f"the outcome of {case.ends}", crashed or ["none"]
        _take(expected["outcomes"], case.ends)
        expected["exit codes"] = [1 for _ in case.steps]
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield name, list(_shown(expected.get(name), found.get(name)))
    if case.shows and not re.search(case.shows, braid.text):
        yield "the output", [f"does not contain {case.shows!r}", *braid.text.splitlines()]


def _facts(case: Case, left: Left) -> dict[str, Any]:
    facts: dict[str, Any] = {"exit codes": left.exits, "outcomes": left.outcomes()}
    try:
        facts |= case.look(left)
    except Exception as error:  # noqa: BLE001 -- a report that cannot be read is a difference
        facts["what can be read"] = f"{type(error).__name__}: {error} {left.text}"
    return facts


def _take(outcomes: list[list[str]], name: str) -> list[str]:
    """Take the lines of one test out of the summaries, and those that count it."""
    taken = []
    for i, summary in enumerate(outcomes):
        taken += [line for line in summary if f"::{name}" in line]
        outcomes[i] = [line for line in summary if f"::{name}" not in line and line[0] != "="]
    return taken


def _shown(expected: Any, found: Any) -> Iterator[str]:
    import difflib

    before, after = (
        json.dumps(side, indent=1, sort_keys=True).splitlines() for side in (expected, found)
    )
    lines = difflib.unified_diff(before, after, "serial", "braid", n=0, lineterm="")
    for number, line in enumerate(lines):
        if number < 40:  # noqa: PLR2004 -- enough to see what it is
            yield line[:1000]


def _result(case: Case, differing: Sequence[str]) -> str:
    if not differing:
        return "the same"
    return "; ".join(filter(None, (f"differs in: {', '.join(differing)}", case.remark)))


# --- the table --------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """Two tables in Markdown: what is in contract, and what is only tried."""
    found = [f"With pytest {metadata.version('pytest')} and Python {sys.version.split()[0]}."]
    for title, in_contract in (("In contract", True), ("Without a promise", False)):
        some = [row for row in rows if row.case.in_contract is in_contract]
        if some:
            found += ["", f"## {title}", "", *_lines(some)]
    return "\n".join(found)


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "| plugin | version | compared, besides exit codes and outcomes | workers | result |"
    yield "|---|---|---|---|---|"
    for row in rows:
        cells = (row.case.plugin, row.version, row.case.compared, row.workers, row.result)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_table(text: str, rows: Sequence[Row]) -> str:
    """A page with what stands between the markers replaced."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{table(rows)}\n{END}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    sys.exit(main())
