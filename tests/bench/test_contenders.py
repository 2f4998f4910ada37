from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.contenders import BRAID, PLAIN, XDIST, Contender, clean_environment, install


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """The commands that install() would run, which find pytest 9.0 installed."""
    ran: list[tuple[str, ...]] = []

    def record(_contender: Contender, command: Sequence[str]) -> str:
        ran.append(tuple(command))
        if "venv" in command:
            Path(command[-1]).mkdir()
        return json.dumps([{"name": "pytest", "version": "9.0"}])

    checkout = tmp_path / "checkout"
    (checkout / "src").mkdir(parents=True)
    monkeypatch.setattr("bench.contenders._check_call", record)
    monkeypatch.setattr("bench.contenders.ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr("bench.contenders.REPOSITORY", checkout)
    return ran


def installs(commands: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [command[command.index("--quiet") + 1 :] for command in commands if "install" in command]


def test_every_environment_has_the_pytest_of_plain(commands: list[tuple[str, ...]]) -> None:
    installed = install([XDIST])
    assert installs(commands) == [("pytest",), ("pytest==9.0", "pytest-xdist")]
    assert installed["xdist"].packages == {"pytest": "9.0"}


def test_an_environment_is_kept_while_nothing_has_changed(commands: list[tuple[str, ...]]) -> None:
    first = install([PLAIN, BRAID])
    commands.clear()
    assert install([PLAIN, BRAID]) == first
    assert commands == []


def test_a_change_of_the_checkout_makes_the_environment_of_braid_again(
    commands: list[tuple[str, ...]], tmp_path: Path
) -> None:
    install([PLAIN, BRAID])
    commands.clear()
    (tmp_path / "checkout" / "src" / "plugin.py").write_text("")
    install([PLAIN, BRAID])
    assert installs(commands) == [("pytest==9.0", *BRAID.plugins)]


def test_options() -> None:
    assert PLAIN.options(2) == []
    assert XDIST.options(2) == ["-n", "2"]
    assert BRAID.options("auto") == ["-n", "auto"]


def test_settings_of_the_caller_do_not_reach_a_contender(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "COV_CORE_SOURCE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = clean_environment(tmp_path)
    assert not [name for name in environment if name.startswith(("PYTHON", "PYTEST", "COV"))]
    assert environment["LANG"] == "C.UTF-8"
    assert environment["TMPDIR"] == str(tmp_path)
