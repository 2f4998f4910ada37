from __future__ import annotations

import compileall
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_braid
from tests.e2e.running import Stage, staged
from tests.e2e.serial import Suite


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Of the runs none writes bytecode, and there are hundreds of them."""
    compileall.compile_dir(Path(pytest_braid.__file__).parent, quiet=1)


@pytest.fixture
def suite(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """A suite to be written, in an empty directory."""
    return Suite(pytester, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def stage(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A suite to be written and watched while it runs; what it leaves is killed at the end."""
    yield from staged(pytester, tmp_path_factory.mktemp("runs"))
