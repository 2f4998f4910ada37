"""Pages to be followed: their files are written, their commands are run, and it is as they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.pages.markdown import Block, blocks, commands, spans
from tests.pages.projects import Done, Project
from tests.pages.shown import Shown, at_home, is_as_shown, shown

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("start.md", "troubleshooting.md", "shared-fixtures.md")

CONFIG = """
[tool.pytest.ini_options]
asyncio_default_fixture_loop_scope = "function"
"""
"""What pytest-asyncio, which is here, asks of those who do not use it too."""

ENV = {"PYTEST_XDIST_AUTO_NUM_WORKERS": "2"}
"""The pages are written on a machine with two cores."""


def text_of(page: str) -> str:
    return DOCS.joinpath(page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_what_happens(page: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write({"pyproject.toml": CONFIG})
    problems = [problem for part in blocks(text_of(page)) for problem in problems_of(part, project)]
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("page", PAGES)
def test_commands_named_in_passing_are_understood(page: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write({"pyproject.toml": CONFIG, "test_a.py": "def test_a(): pass\n"})
    named = [span.text for span in spans(text_of(page)) if span.text.startswith("pytest ")]
    assert named
    for command in {*named}:
        done = project.sh(command, **ENV)
        assert done.exit == 0, done.text


def problems_of(part: Block, project: Project) -> Iterator[str]:
    """Do what a block says; what is not as it says."""
    if name := file_of(part):
        project.write({name: part.text})
    for run in runs_of(part):
        done = tried(run.command, project)
        if run.output and not is_as_shown(run.output, done.text, project.folder):
            yield f"$ {run.command}\nprints another text:\n{at_home(done.text, project.folder)}"
        elif not run.output and (done.exit or "warning" in done.text.lower()):
            yield f"$ {run.command}\n{done.text}"


def file_of(part: Block) -> str | None:
    """Which file it is: its first line says so, as a comment."""
    named = re.match(r"# ([\w./-]+)\n", part.text)
    return named[1] if named and part.language not in ("console", "bash") else None


def runs_of(part: Block) -> list[Shown]:
    match part.language:
        case "console":
            return shown(part.text)
        case "bash":
            return [Shown(command, []) for command in commands(part.text)]
        case "yaml":
            return [Shown(command, []) for command in scripts(yaml.safe_load(part.text))]
        case _:
            return []


def scripts(workflow: object) -> Iterator[str]:
    """What a job of GitHub (``run``) or GitLab (``script``) runs."""
    match workflow:
        case {"run": str(text)}:
            yield from commands(text)
        case {"script": list(lines)}:
            yield from lines
        case dict():
            for value in workflow.values():
                yield from scripts(value)
        case list():
            for value in workflow:
                yield from scripts(value)
        case _:
            pass


def tried(command: str, project: Project) -> Done:
    """What a command does. One that installs must name what is here, and is done with that."""
    match shlex.split(command):
        case ["pip", "install", *names] | ["uv", "add", *names] | ["poetry", "add", *names]:
            assert all(metadata.distribution(name) for name in names if not name.startswith("-"))
            return Done(0, "", {})
        case _:
            return project.sh(command, **ENV)


class Case(NamedTuple):
    output: list[str]
    printed: str
    same: bool


CASES = {
    "times and workers may differ": Case(["[gw0] in 0.11s"], "[gw1] in 2.50s\n", same=True),
    "rules may be longer": Case(["=== a ==="], "======= a ====\n", same=True),
    "tests end in any order": Case(["..F. [100%]"], "F...    [100%]\n", same=True),
    "their number counts": Case(["..F. [100%]"], "F.. [100%]\n", same=False),
    "lines may be left out": Case(["a", "...", "c"], "a\nb\nb\nc\n", same=True),
    "only where it says so": Case(["a", "c"], "a\nb\nc\n", same=False),
    "places are the reader's": Case(["/home/me/shop/a.py"], "/tmp/x/a.py\n", same=True),
    "what is printed counts": Case(["1 passed"], "1 failed\n", same=False),
    "nothing may be missing": Case(["a", "b"], "a\n", same=False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_found(case: str) -> None:
    output, printed, same = CASES[case]
    assert is_as_shown(output, printed, Path("/tmp/x")) is same


def test_jobs_are_read() -> None:
    github = {"jobs": {"test": {"steps": [{"uses": "checkout"}, {"run": "a\nb  # c\n"}]}}}
    gitlab = {"test": {"image": "python", "script": ["a", "b"]}}
    assert [*scripts(github)] == [*scripts(gitlab)] == ["a", "b"]
