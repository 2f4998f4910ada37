"""A guide to parallel testing with pytest-xdist, followed with pytest-braid in its place.

``parallel-testing-guide.md`` is such a guide as people write and hand on, kept as it came: one of
the texts with which this project was begun. Its commands, options, marks, configurations and
examples are taken out of that text, so that none can be forgotten; ``slips.toml`` says where nobody
could follow it. What stands beside each of them here is what the guide promises of it.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

from pytest_braid.options import cores
from tests.pages.markdown import Block, blocks, commands, spans
from tests.pages.projects import NOTING, Done, Project

HERE = Path(__file__).parent
WRITTEN = HERE.joinpath("parallel-testing-guide.md").read_text(encoding="utf-8")
SLIPS: list[dict[str, str]] = tomllib.loads(
    HERE.joinpath("slips.toml").read_text(encoding="utf-8")
)["slip"]


def repaired(guide: str) -> str:
    for slip in SLIPS:
        guide = guide.replace(slip["text"], slip["instead"])
    return guide


GUIDE = repaired(WRITTEN)


def block(section: str, language: str, number: int = 0) -> str:
    """One of the section's blocks in this language."""
    return [b.text for b in blocks(GUIDE) if (b.section, b.language) == (section, language)][number]


# --- projects that follow it ------------------------------------------------------------------

TESTS = """
import pytest

def test_specific_function(): print("said aloud")
def test_setup(worker_setup): pass
@pytest.mark.parametrize("number", range(6))
def test_many(number): pass
@pytest.mark.slow
def test_slow(): pass
class TestBasket:
    def test_add(self): pass
    def test_remove(self): pass
class TestTill:
    def test_open(self): pass
    def test_close(self): pass
"""

ASYNC = """
import pytest

@pytest.mark.integration
@pytest.mark.asyncio
async def test_database(): pass
@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.asyncio
async def test_slow_database(): pass
"""

PATH = """
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "src"))
"""

OF_UNITS = "import pytest\n@pytest.mark.unit\ndef test_a_unit(): pass\n"


def supplied(conftest: str) -> dict[str, str]:
    """What every project has: tests of all kinds, and something to cover."""
    return {
        "src/shop.py": "def price(): return 3\n",
        "tests/conftest.py": PATH + NOTING + conftest,
        "tests/unit/test_basket.py": TESTS,
        "tests/unit/test_price.py": "import shop\ndef test_price(): assert shop.price() == 3\n",
        "tests/integration/test_database.py": ASYNC,
    }


def implemented() -> dict[str, str]:
    """As in "What I Implemented"."""
    config = block("Core Dependencies", "toml") + block("Pytest Configuration", "toml")
    return {"pyproject.toml": config, "Makefile": block("Makefile Targets", "makefile")}


def step_by_step() -> dict[str, str]:
    return {
        "pyproject.toml": block("Configure pyproject.toml", "toml"),
        "Makefile": block("Create Test Execution Commands", "makefile"),
        "tests/test_marked.py": block("Mark Your Tests", "python"),
        "tests/unit/test_units.py": OF_UNITS,
    }


def option_b() -> dict[str, str]:
    """Step by step, with the scripts in pyproject.toml "added to the existing config"."""
    added = block("Create Test Execution Commands", "toml")
    given = re.sub(
        r"^addopts = \[.*?^\]\n",
        "",
        step_by_step()["pyproject.toml"],
        flags=re.MULTILINE | re.DOTALL,
    )
    header = "[tool.pytest.ini_options]\n"
    return step_by_step() | {"pyproject.toml": added + given.replace(header, "")}


def quick_start() -> dict[str, str]:
    return {
        "pyproject.toml": block("Quick Start Template", "toml"),
        "Makefile": block("Quick Start Template", "makefile"),
        "tests/test_mail.py": block("Quick Start Template", "python"),
    }


WAYS = {way.__name__: way for way in (implemented, step_by_step, option_b, quick_start)}


@pytest.fixture(scope="session")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp(request.param))
    project.write(supplied(conftest=block("Resource Management", "python")))
    project.write(WAYS[request.param]())
    return project


# --- what it promises -------------------------------------------------------------------------


Marks = frozenset[str]


def all_tests(_: Marks) -> bool:
    return True


def fast(marks: Marks) -> bool:
    return "slow" not in marks


def slow(marks: Marks) -> bool:
    return "slow" in marks


def unit(marks: Marks) -> bool:
    return "unit" in marks


def integration(marks: Marks) -> bool:
    return "integration" in marks


def unit_or_integration(marks: Marks) -> bool:
    return unit(marks) or integration(marks)


AUTO = "auto"
SERIAL = 0


class Promise(NamedTuple):
    """What a command of the guide does, by its own words."""

    section: str
    command: str
    way: Callable[[], dict[str, str]]
    workers: int | str
    runs: Callable[[Marks], bool] = all_tests
    says: tuple[str, ...] = ()
    """What stands in its output, as patterns."""
    together: str | None = None
    """What stays in one worker: this much of a node id."""


MAKING, DISTRIBUTION, PATTERNS = (
    "Create Test Execution Commands",
    "Worker Distribution Strategies",
    "Test Selection Patterns",
)
STEALING = "WorkStealingScheduling"
"""Said with ``-v``; each of these runs with ``--dist=worksteal`` from the configuration."""

PROMISES = [
    Promise("Makefile Targets", "make test", implemented, AUTO, says=(STEALING, "said aloud")),
    Promise("Makefile Targets", "make test-fast", implemented, AUTO, fast, says=(STEALING,)),
    Promise("Makefile Targets", "make test-slow", implemented, SERIAL, slow),
    Promise("Makefile Targets", "make test-single", implemented, SERIAL, says=("said aloud",)),
    Promise(MAKING, "make test", step_by_step, AUTO),
    Promise(MAKING, "make test-fast", step_by_step, AUTO, fast),
    Promise(MAKING, "make test-unit", step_by_step, AUTO, unit),
    Promise(MAKING, "make test-integration", step_by_step, SERIAL, integration),
    Promise(DISTRIBUTION, "pytest -n auto", step_by_step, AUTO),
    Promise(DISTRIBUTION, "pytest -n 4", step_by_step, 4),
    Promise(DISTRIBUTION, "pytest -n auto --dist=worksteal", step_by_step, AUTO),
    Promise(
        DISTRIBUTION,
        "pytest -n auto --dist=loadscope",
        step_by_step,
        AUTO,
        together=r"(.*)::",
    ),
    Promise(
        DISTRIBUTION, "pytest -n auto --dist=loadfile", step_by_step, AUTO, together=r"(.*?)::"
    ),
    Promise(PATTERNS, 'pytest -m "not slow"', step_by_step, SERIAL, fast),
    Promise(PATTERNS, 'pytest -m "unit or integration"', step_by_step, SERIAL, unit_or_integration),
    Promise(PATTERNS, 'pytest -n auto -m "not slow"', step_by_step, AUTO, fast),
    Promise("Quick Start Template", "make test", quick_start, AUTO),
    Promise("Quick Start Template", "make test-fast", quick_start, AUTO, fast),
    Promise("Tests Failing in Parallel but Passing Serially", "pytest -n 0", quick_start, SERIAL),
    Promise(
        "Tests Failing in Parallel but Passing Serially", "make test-single", implemented, SERIAL
    ),
    Promise("Memory Issues with Many Workers", "pytest -n 4", quick_start, 4),
    Promise("Memory Issues with Many Workers", "pytest -n auto", step_by_step, AUTO),
    Promise(
        "GitHub Actions Example",
        "pytest -n auto --cov=src --cov-report=xml",
        step_by_step,
        AUTO,
        says=("Coverage XML written to file coverage.xml",),
    ),
    Promise("Local Development Workflow", "make test-fast", implemented, AUTO, fast),
    Promise("Local Development Workflow", "make test", implemented, AUTO),
]

OTHERWISE = {
    ("Install Dependencies", "pip install pytest pytest-xdist pytest-asyncio"),
    ("Install Dependencies", "uv add pytest pytest-xdist pytest-asyncio"),
    ("Install Dependencies", "poetry add pytest pytest-xdist pytest-asyncio"),
    ("Environment Variables", "export PYTEST_XDIST_AUTO_NUM_WORKERS=8"),
    ("Environment Variables", "export PYTEST_XDIST_WORKER_TIMEOUT=300"),
    ("Slow Test Discovery", "pytest --collect-only"),
    ("Local Development Workflow", 'uv run pytest -v -s -k "test_specific_function"'),
}
"""Commands that have a test of their own."""

WORDS = {"pytest-xdist", "worksteal", "pyproject.toml"}
"""Set as code, and neither command nor option."""


def found() -> set[tuple[str, str]]:
    """Every command of the guide, with its section."""
    in_blocks = {(b.section, command) for b in blocks(GUIDE) for command in commands_of(b)}
    in_text = {(s.section, as_command(s.text)) for s in spans(GUIDE) if s.text not in WORDS}
    return in_blocks | in_text


def commands_of(part: Block) -> list[str]:
    match part.language:
        case "bash":
            return commands(part.text)
        case "makefile":
            return [
                f"make {target}" for target in re.findall(r"^([\w-]+):", part.text, re.MULTILINE)
            ]
        case "yaml":
            steps = yaml.safe_load(part.text)
            return [command for step in steps for command in commands(step["run"])]
        case "toml" | "python":
            return []
        case other:
            raise AssertionError(f"a block in {other!r}")


def as_command(words: str) -> str:
    """An option that is named alone is one of pytest's."""
    return f"pytest {words}" if words.startswith("-") else words


def test_every_command_of_the_guide_is_tried() -> None:
    assert {(p.section, p.command) for p in PROMISES} | OTHERWISE == found()


def test_every_block_of_code_is_used() -> None:
    used = "\n".join(text for way in WAYS.values() for text in supplied_by(way).values())
    for part in blocks(GUIDE):
        if part.language in ("toml", "makefile", "python"):
            missing = [line for line in part.text.splitlines() if line not in used]
            assert not missing, part


def supplied_by(way: Callable[[], dict[str, str]]) -> dict[str, str]:
    return supplied(conftest=block("Resource Management", "python")) | way()


def test_every_slip_is_in_the_guide_and_has_a_reason() -> None:
    for slip in SLIPS:
        assert WRITTEN.count(slip["text"]) == 1
        assert slip["reason"]


# --- and what comes of it ---------------------------------------------------------------------


def by_way(promise: Promise) -> Any:
    identity = f"{promise.section}-{promise.command}"
    return pytest.param(promise.way.__name__, promise, id=identity)


@pytest.mark.parametrize(
    ("project", "promise"), [by_way(promise) for promise in PROMISES], indirect=["project"]
)
def test_a_command_does_what_the_guide_says(project: Project, promise: Promise) -> None:
    done = project.sh(promise.command)
    assert done.exit == 0, done.text
    require_no_warning(done)
    require_workers(done, promise.workers)
    marks = marks_by_test(project)
    assert done.ran.keys() == {nodeid for nodeid in marks if promise.runs(marks[nodeid])}
    for pattern in promise.says:
        assert re.search(pattern, done.text), done.text
    if promise.together:
        require_together(done, promise.together)


@cache
def marks_by_test(project: Project) -> dict[str, Marks]:
    """All tests that it has, from a serial run."""
    ran = project.sh("pytest -o addopts=").ran
    return {nodeid: ran[nodeid].marks for nodeid in ran}


def require_no_warning(done: Done) -> None:
    assert "warning" not in done.text.lower(), done.text
    assert "spawned" not in done.text, done.text


def require_workers(done: Done, workers: int | str) -> None:
    """That the tests ran in this many, or in this process."""
    told = re.findall(r"^(\d+) workers? \[(\d+) items?\]$", done.text, re.MULTILINE)
    names = {ran.worker for ran in done.ran.values()}
    if workers == SERIAL:
        assert names == {"master"}, done.text
        assert not told
        return
    ((count, items),) = told
    assert int(items) == len(done.ran)
    assert names <= {f"gw{number}" for number in range(int(count))}
    assert int(count) == (
        workers if workers != AUTO else min(cores(logical=False), len(done.ran))
    ), done.text


def require_together(done: Done, pattern: str) -> None:
    where: dict[str, set[str]] = {}
    for nodeid, ran in done.ran.items():
        unit_of = re.match(pattern, nodeid)
        assert unit_of
        where.setdefault(unit_of[1], set()).add(ran.worker)
    assert all(len(workers) == 1 for workers in where.values()), where


@pytest.mark.parametrize("project", ["option_b"], indirect=True)
def test_with_the_scripts_in_pyproject_every_run_is_parallel(project: Project) -> None:
    done = project.sh("pytest")
    assert done.exit == 0, done.text
    require_no_warning(done)
    require_workers(done, AUTO)


@pytest.mark.parametrize("project", ["implemented"], indirect=True)
def test_one_function_can_be_debugged(project: Project) -> None:
    (command,) = (c for _, c in OTHERWISE if "specific" in c)
    done = project.sh(command)
    assert [*done.ran] == ["tests/unit/test_basket.py::test_specific_function"]
    require_workers(done, SERIAL)
    refused = project.sh('make test-single -k "test_specific_function"')
    assert "No rule to make target" in refused.text, "then it is no slip"


@pytest.mark.parametrize("project", ["quick_start"], indirect=True)
def test_collection_can_be_looked_at(project: Project) -> None:
    done = project.sh("pytest --collect-only")
    assert done.exit == 0
    assert not done.ran
    assert "<Function test_specific_function>" in done.text
    require_no_warning(done)


@pytest.mark.parametrize("project", ["step_by_step"], indirect=True)
def test_the_variables_mean_what_it_says(project: Project) -> None:
    exports = block("Environment Variables", "bash")
    done = project.sh(exports + "pytest -n auto")
    assert done.exit == 0, done.text
    require_workers(done, 8)

    project.write({"hangs.py": "import threading\ndef test_it(): threading.Event().wait()\n"})
    done = project.sh(exports.replace("=300", "=1") + "pytest -n auto hangs.py")
    assert done.exit == 1
    assert "after 1 s (the environment variable PYTEST_XDIST_WORKER_TIMEOUT)" in done.text


@pytest.mark.parametrize("project", ["step_by_step"], indirect=True)
def test_the_coverage_is_complete(project: Project) -> None:
    project.sh("pytest -n auto --cov=src --cov-report=xml")
    report = project.folder.joinpath("coverage.xml").read_text(encoding="utf-8")
    assert 'line-rate="1"' in report
    assert 'filename="shop.py"' in report


@pytest.mark.parametrize("project", ["step_by_step"], indirect=True)
def test_the_named_distributions_can_be_installed(project: Project) -> None:
    for line in commands(block("Install Dependencies", "bash")):
        tool, verb, *names = shlex.split(line.replace("pytest-xdist", "pytest-braid"))
        assert (tool, verb) in {("pip", "install"), ("uv", "add"), ("poetry", "add")}
        assert all(metadata.distribution(name) for name in names)
        if tool == "pip":
            assert project.sh(shlex.join([tool, verb, *names])).exit == 0


@pytest.mark.parametrize("section", ["Core Dependencies", "Quick Start Template"])
def test_the_listed_dependencies_are_met(section: str) -> None:
    listed = tomllib.loads(block(section, "toml"))["project"]["dependencies"]
    wanted = [Requirement(line) for line in listed]
    assert {one.name for one in wanted} == {"pytest", "pytest-xdist", "pytest-asyncio"}
    (xdist,) = (one for one in wanted if one.name == "pytest-xdist")
    assert "3.8.0" in xdist.specifier, "the release whose interface we offer"


def test_pytest_xdist_is_not_installed() -> None:
    names = {found.name for found in metadata.distributions()}
    assert "pytest-xdist" not in names
    assert {"pytest-braid", "pytest-asyncio"} <= names
