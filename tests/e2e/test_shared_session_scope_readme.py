"""The README of pytest-shared-session-scope 0.1.0, block by block, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.running import Ended, Stage

SEED = Path(__file__).parents[1] / "seeds" / "pytest-shared-session-scope.md"

SHARED, DATES, FUNCTIONS = re.findall(
    r"^```python\n(.*?)^```", SEED.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)

HARNESS = """
import builtins
import pytest_shared_session_scope
from pytest_shared_session_scope.store import JsonStore
builtins.shared_json_scope_fixture = pytest_shared_session_scope.shared_json_scope_fixture
write = JsonStore.write
def noting(self, identifier, data, values):
    note("made", data)
    write(self, identifier, data, values)
JsonStore.write = noting
"""
"""What a block takes for granted (the last one does not import the decorator), and what tells how
often a value is made."""

every_run = pytest.mark.parametrize(
    "options", [["-n2"], ["-n2", "--threads=2"], ["-n2", "--forked"], ["-n0"], []]
)


def run_block(stage: Stage, block: str, options: list[str], test: str = "") -> Ended:
    stage.write(harness=HARNESS)
    (stage.path / "test_readme.py").write_text(block + test, encoding="utf-8")
    return stage.run("-p", "harness", "-s", *options, workers=None)


def made(run: Ended) -> int:
    return len([line for line in run.notes if line.startswith("made")])


@every_run
def test_the_fixture_that_yields_twice(stage: Stage, options: list[str]) -> None:
    users = "".join(f"def test_{n}(my_fixture): assert my_fixture == 123\n" for n in range(5))
    run = run_block(stage, SHARED, options, users)
    assert (run.exit, run.counts) == (0, {"passed": 5}), run.text
    assert made(run) == (1 if "-n2" in options else 0)


@every_run
def test_data_that_json_does_not_know(stage: Stage, options: list[str]) -> None:
    users = "".join(
        f"def test_{n}(my_fixture_return): print('is', my_fixture_return.isoformat())\n"
        for n in range(5)
    )
    run = run_block(stage, DATES, options, users)
    assert (run.exit, run.counts) == (0, {"passed": 5}), run.text
    assert len({*re.findall(r"is (\S+)", run.text)}) == 1, "it is the same in all workers"
    assert made(run) == (1 if "-n2" in options else 0)


@every_run
def test_functions_that_are_returned(stage: Stage, options: list[str]) -> None:
    run = run_block(stage, FUNCTIONS, options)
    assert (run.exit, run.counts) == (0, {"passed": 1}), run.text
    assert [line for line in run.text.splitlines() if "Cleaning up" in line][-1].endswith("3")
    assert made(run) == (1 if "-n2" in options else 0)
