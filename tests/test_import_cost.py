"""A run that asks nothing of braid pays for its entry module and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Both print the names of modules as their last line.
RUN = """
import json, sys, pytest
code = pytest.main(sys.argv[1:])
print()
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""

IMPORT = """
import json, sys
before = set(sys.modules)
import pytest_braid
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_loaded_by(program: str, *args: str, cwd: Path) -> set[str]:
    """Run ``program`` in a new interpreter and return the names that it prints."""
    # Other installed plugins would have loaded much of what braid must not load.
    quiet = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=cwd,
        env=os.environ | quiet,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_entry_point_is_named_braid() -> None:
    (entry,) = entry_points(group="pytest11", name="braid")
    assert entry.value == "pytest_braid.plugin"


def test_a_run_without_options_loads_the_entry_module_alone(tmp_path: Path) -> None:
    tmp_path.joinpath("test_trivial.py").write_text("def test_passes(): pass\n")
    without = modules_loaded_by(RUN, "-p", "no:braid", cwd=tmp_path)
    loaded = modules_loaded_by(RUN, "-p", "braid", cwd=tmp_path)
    assert loaded - without == {"pytest_braid", "pytest_braid.plugin"}


HEAVY = ("asyncio", "ssl", "greenlet", "multiprocessing", "sqlite3")
"""Modules that take long to import, and that only some runs have a use for."""


@pytest.mark.parametrize("option", ["-n1", "--threads=2"])
def test_workers_of_ordinary_tests_load_nothing_that_only_others_need(
    tmp_path: Path, option: str
) -> None:
    tmp_path.joinpath("test_trivial.py").write_text(
        f"import sys\ndef test_1(): assert not [name for name in {HEAVY} if name in sys.modules]\n"
    )
    options = ("-p", "braid", option)
    loaded = modules_loaded_by(RUN, *options, f"--basetemp={tmp_path}-temp", cwd=tmp_path)
    assert not loaded & {*HEAVY}


def test_importing_the_package_imports_nothing_else(tmp_path: Path) -> None:
    assert modules_loaded_by(IMPORT, cwd=tmp_path) == {"pytest_braid"}


REWRITTEN = """
import sys, pytest

pytest.register_assert_rewrite("pytest_braid")  # as it is where pip has installed it

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    found = [
        name
        for name, module in sys.modules.items()
        if name.startswith("pytest_braid.") and type(module.__loader__) is type(__loader__)
    ]
    with open("rewritten.txt", "a") as file:  # in controller and zygote
        print(*found, file=file)
"""


def test_no_module_of_a_run_with_workers_has_its_assertions_rewritten(tmp_path: Path) -> None:
    tmp_path.joinpath("conftest.py").write_text(REWRITTEN)
    tmp_path.joinpath("test_trivial.py").write_text("def test_passes(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_braid.plugin", "-n1"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "PYTEST_DEBUG_TEMPROOT": str(tmp_path),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 passed" in done.stdout
    found = tmp_path.joinpath("rewritten.txt").read_text().splitlines()
    assert found == ["pytest_braid.plugin"] * 2
