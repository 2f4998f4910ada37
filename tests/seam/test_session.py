"""pytest's config, as far as forked copies must differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.seam import session


def test_pytest_s_own_temporary_directories_are_known(pytestconfig: pytest.Config) -> None:
    assert session.probe_basetemp(pytestconfig) is None


def test_other_temporary_directories_are_a_reason_not_to_fork() -> None:
    config: Any = SimpleNamespace(_tmp_path_factory=object())
    assert "built otherwise than braid knows them (TempPathFactory)" in str(
        session.probe_basetemp(config)
    )


def test_without_temporary_directories_there_is_nothing_to_know_or_to_give(tmp_path: Path) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace())
    assert session.probe_basetemp(config) is None
    assert session.run_basetemp(config) is None
    session.give_basetemp(config, tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_worker_s_base_directory_keeps_what_is_in_it(pytester: pytest.Pytester) -> None:
    """pytest's own way of being given one empties it first."""
    config: Any = pytester.parseconfigure()
    own = pytester.mkdir("own")
    (own / "kept").touch()
    session.give_basetemp(config, own)
    made = config._tmp_path_factory.mktemp("test", numbered=True)  # noqa: SLF001 -- as pytest does
    assert made == own / "test0"
    assert (own / "kept").exists()


@pytest.mark.parametrize(
    ("module", "own"),
    [
        ("_pytest.runner", True),
        ("_pytest", True),
        ("pytest_x", False),
        ("x._pytest", False),
        ("", False),
    ],
)
def test_pytest_s_own_modules_are_told_from_others(module: str, own: bool) -> None:
    assert session.is_own(module) is own


def test_cleanups_of_a_copy_are_its_own(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfigure()
    called: list[str] = []
    config.add_cleanup(lambda: called.append("of the parent"))
    clean = session.fresh_cleanups(config)
    config.add_cleanup(lambda: called.append("first"))
    config.add_cleanup(lambda: called.append("second"))
    clean()
    assert called == ["second", "first"]
