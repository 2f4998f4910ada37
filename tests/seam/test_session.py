"""pytest's config, as far as forked copies must differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.seam import session


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configurations made here load none of the plugins that happen to be installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


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
    session.give_basetemp(config, tmp_path / "own", 0)
    assert not (tmp_path / "own").exists()


def test_a_worker_has_a_base_directory_beside_what_its_predecessor_has_left(
    pytester: pytest.Pytester,
) -> None:
    """pytest's own way of being given one empties it first."""
    config: Any = pytester.parseconfigure()
    factory = config._tmp_path_factory  # noqa: SLF001 -- as pytest does
    own, another = pytester.path / "own", pytester.path / "own-7"
    session.give_basetemp(config, own, 0)
    assert factory.mktemp("test", numbered=True) == own / "test0"
    assert factory.mktemp("named", numbered=False) == own / "named"
    session.give_basetemp(config, own, 7)
    assert factory.mktemp("test", numbered=True) == another / "test0"
    assert factory.mktemp("named", numbered=False) == another / "named"
    assert (own / "test0").exists()


def test_who_leaves_tears_down_and_leaves_no_empty_directory(pytester: pytest.Pytester) -> None:
    items = pytester.getitems("def test_1(): pass")
    its_session = items[0].session
    told: list[str] = []
    session.give_basetemp(its_session.config, pytester.path / "own", 0)
    its_session._setupstate.setup(items[0])  # noqa: SLF001 -- as pytest does
    its_session._setupstate.addfinalizer(lambda: told.append("torn down"), its_session)  # noqa: SLF001
    session.leave(its_session, 0)
    assert told == ["torn down"]
    assert not (pytester.path / "own").exists()


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


def test_the_search_for_fixtures_is_done_once_by_who_took_it_over(
    pytester: pytest.Pytester,
) -> None:
    config = pytester.parseconfigure()
    find = session.take_over_fixtures(config)
    assert find is not None
    its_session: Any = pytest.Session.from_config(config)
    config.hook.pytest_sessionstart(session=its_session)
    assert not hasattr(its_session, "_fixturemanager")
    find(its_session)
    assert config.pluginmanager.get_plugin("funcmanage") is its_session._fixturemanager  # noqa: SLF001


def found_late(pytester: pytest.Pytester, *args: str) -> tuple[pytest.Config, Any]:
    """A session whose fixtures are found when somebody asks for the manager."""
    config = pytester.parseconfigure(*args)
    its_session: Any = pytest.Session.from_config(config)
    find = session.take_over_fixtures(config)
    assert find is not None
    session.find_fixtures_late(its_session, find)
    return config, its_session


@pytest.mark.parametrize("asks", ["session", "plugins"])
def test_the_search_for_fixtures_waits_until_somebody_asks(
    pytester: pytest.Pytester, asks: str
) -> None:
    config = pytester.parseconfigure()
    plugins = config.pluginmanager
    its_session: Any = pytest.Session.from_config(config)
    searched: list[pytest.Session] = []
    find = session.take_over_fixtures(config)
    assert find is not None

    def search(where: pytest.Session) -> None:
        searched.append(where)
        find(where)

    config.hook.pytest_sessionstart(session=its_session)
    session.find_fixtures_late(its_session, search)
    assert isinstance(its_session, pytest.Session)
    assert not searched
    early: Any = plugins.get_plugin("funcmanage")
    manager = its_session._fixturemanager if asks == "session" else early  # noqa: SLF001
    assert manager.session is its_session
    assert searched == [its_session]
    assert early.session is its_session
    assert type(its_session) is pytest.Session
    assert plugins.get_plugin("funcmanage") is its_session._fixturemanager  # noqa: SLF001
    assert searched == [its_session]


def test_the_manager_is_itself_whoever_looks_at_it(pytester: pytest.Pytester) -> None:
    config, its_session = found_late(pytester)
    early: Any = config.pluginmanager.get_plugin("funcmanage")
    early.of_mine = 3
    manager = its_session._fixturemanager  # noqa: SLF001
    assert manager.of_mine == 3
    assert isinstance(early, type(manager))


def test_another_manager_may_be_given_to_the_session(pytester: pytest.Pytester) -> None:
    config, its_session = found_late(pytester)
    mine = its_session._fixturemanager = object()  # noqa: SLF001
    assert its_session._fixturemanager is mine  # noqa: SLF001
    assert config.pluginmanager.get_plugin("funcmanage") is not mine


def test_fixtures_are_found_at_once_where_plugins_are_traced(pytester: pytest.Pytester) -> None:
    _, its_session = found_late(pytester, "--trace-config")
    assert "_fixturemanager" in vars(its_session)


def test_the_manager_is_there_though_its_name_is_blocked(pytester: pytest.Pytester) -> None:
    _, its_session = found_late(pytester, "-p", "no:funcmanage")
    assert its_session._fixturemanager.session is its_session  # noqa: SLF001


def test_a_pytest_without_that_search_is_left_as_it_is(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfigure()
    config.pluginmanager.unregister(name="fixtures")
    its_session = pytest.Session.from_config(config)
    assert session.take_over_fixtures(config) is None
    config.hook.pytest_sessionstart(session=its_session)
    assert config.pluginmanager.get_plugin("funcmanage") is None
