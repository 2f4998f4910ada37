from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.suites import (
    CRASHING,
    LATE,
    LINGERING,
    PARAMETERS,
    SCENARIOS,
    SLEEPING,
    WAITING,
    Scenario,
)

ALL = [*SCENARIOS.values(), CRASHING, LATE, LINGERING, PARAMETERS, SLEEPING, WAITING]


def contents(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_text() for path in files}


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_a_suite_is_the_same_whenever_it_is_written(scenario: Scenario, tmp_path: Path) -> None:
    copies = tmp_path / "one", tmp_path / "two"
    for copy in copies:
        copy.mkdir()
    assert len({scenario.write(copy, 0.05) for copy in copies}) == 1
    assert contents(copies[0]) == contents(copies[1])


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_every_file_of_a_suite_is_python(scenario: Scenario, tmp_path: Path) -> None:
    scenario.write(tmp_path, 0.05)
    for path in tmp_path.rglob("*.py"):
        compile(path.read_text(), path.name, "exec")


def test_the_trivial_suite_is_5000_tests_in_50_modules(tmp_path: Path) -> None:
    assert SCENARIOS["trivial"].write(tmp_path, 1.0) == 5_000
    modules = list(tmp_path.glob("test_*.py"))
    assert len(modules) == 50
    tests = [name for path in modules for name in re.findall(r"def (test_\w+)", path.read_text())]
    assert len(set(tests)) == 5_000
