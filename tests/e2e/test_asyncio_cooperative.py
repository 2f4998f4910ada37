"""What users of pytest-asyncio-cooperative find here: under plain pytest, and with workers."""

from __future__ import annotations

import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.running import Ended, Stage
from tests.timeline import Timeline

SEED = Path(__file__).parents[1] / "seeds" / "pytest-asyncio-cooperative.rst"
"""The README, as it was published."""


def blocks(language: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    found = re.findall(
        rf"^\.\. code-block:: {language}\n(?: +:class: ignore\n)?\s*\n((?: {{3}}.*\n|\s*\n)+)",
        SEED.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [textwrap.dedent(block).strip() + "\n" for block in found]


SIMPLE, FIXTURES, LOCKED, DECORATED = blocks("python")

NEVER_DEFINED = {
    "access_shared_resource": "a function that the tests call",
    "my_fixture": "a name that the tests compare with 'XXX' and do not ask for",
    "service.http.on_handler": "what the tests patch",
    "mocker": "the fixture of pytest-mock",
    "decorator": "the package of this name",
}
"""What the README uses and defines nowhere."""

SUPPLIED = """
import builtins, unittest.mock
from e2e_notes import note
def access_shared_resource():
    import service.http
    note("accessed", type(service.http.on_handler).__name__)
builtins.access_shared_resource = access_shared_resource
builtins.my_fixture = "XXX"
"""

MOCKER = """
import pytest
@pytest.fixture
def mocker():
    with unittest.mock.patch("service.http.on_handler") as mock:
        class Mocker:
            def patch(self, name): return mock
        yield Mocker()
"""

DECORATOR = """
import functools, inspect
def decorator(caller, function):
    @functools.wraps(function)
    async def call(*args, **more):
        return await caller(function, *args, **more)
    call.__signature__ = inspect.signature(function)
    return call
"""


def supply(stage: Stage) -> None:
    (stage.path / "service").mkdir()
    (stage.path / "service" / "__init__.py").touch()
    (stage.path / "service" / "http.py").write_text("on_handler = None\n")
    has_mock = find_spec("pytest_mock") is not None
    plugin = 'pytest_plugins = ["pytest_mock"]\n' if has_mock else MOCKER
    (stage.path / "conftest.py").write_text(SUPPLIED + plugin)
    if find_spec("decorator") is None:
        (stage.path / "decorator.py").write_text(DECORATOR)


def logged(stage: Stage, *args: str) -> tuple[Ended, Timeline]:
    log = stage.base / "log.jsonl"
    run = stage.run(*args, f"--braid-log={log}", workers=None)
    return run, Timeline(log)


def test_each_block_is_found_and_the_texts_are_what_they_were() -> None:
    assert all(text.startswith(("import", "from")) for text in blocks("python"))
    assert blocks("bash") == [
        "========== 2 passed in 2.05 seconds ==========\n",
        "pip install pytest-asyncio-cooperative\n",
        "========== 2 passed in 4.05 seconds ==========\n",
    ]


@pytest.mark.parametrize(
    ("block", "count", "seconds"),
    [(SIMPLE, 2, 3.5), (FIXTURES, 1, None), (LOCKED, 2, None), (DECORATED, 2, 3.5)],
    ids=["simple", "fixtures", "locked", "decorated"],
)
def test_the_readmes_blocks_run_as_they_are(
    stage: Stage, block: str, count: int, seconds: float | None
) -> None:
    supply(stage)
    (stage.path / "test_readme.py").write_text(block)
    assert (stage.path / "test_readme.py").read_text() in {*blocks("python")}
    run = stage.run(workers=None)
    assert run.counts == {"passed": count}, run.text
    assert run.exit == 0
    if seconds is not None:  # two of two seconds overlap
        found = re.search(r"passed in (\d+\.\d+)s", run.text)
        assert found
        assert float(found[1]) < seconds
