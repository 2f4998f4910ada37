from __future__ import annotations

from typing import Any

import pytest

from pytest_braid.seam import phases, sharing


def session_of(pytester: pytest.Pytester) -> pytest.Session:
    items = pytester.getitems(
        """
        import pytest
        @pytest.fixture(scope="session")
        def base(): return 1
        @pytest.fixture(scope="session", params=[1, 2])
        def server(base, request): return request.param
        @pytest.fixture
        def narrow(server): return server
        def test_it(narrow, request): pass
        """
    )
    session = items[0].session
    session.items = items
    return session


def definition(session: pytest.Session, wanted: str) -> Any:
    return next(each for name, each in sharing.all_definitions(session) if name == wanted)


def test_pytest_is_as_it_is_known(pytester: pytest.Pytester) -> None:
    assert sharing.why_not(session_of(pytester)) is None


def test_what_is_missing_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(pytester)
    monkeypatch.delattr(pytest.Function, "_initrequest")
    assert sharing.why_not(session) == f"pytest {pytest.__version__} has no Function._initrequest"


def test_every_definition_is_found(pytester: pytest.Pytester) -> None:
    session = session_of(pytester)
    names = [name for name, _ in sharing.all_definitions(session)]
    assert {"base", "server", "narrow", "tmp_path_factory", "worker_id"} <= {*names}
    assert sharing.is_of_session(definition(session, "server"))
    assert not sharing.is_of_session(definition(session, "narrow"))
    assert sharing.is_pytests_own(definition(session, "tmp_path_factory"))
    assert not sharing.is_pytests_own(definition(session, "base"))


def test_a_replaced_one_asks_for_nothing_it_had_asked_for(pytester: pytest.Pytester) -> None:
    session = session_of(pytester)
    server, item = definition(session, "server"), session.items[0]
    assert "base" in item.fixturenames  # type: ignore[attr-defined]
    sharing.replace_function(server, lambda request: request, ("request",))
    sharing.prune(item)
    assert "base" not in item.fixturenames  # type: ignore[attr-defined]
    assert {"narrow", "server", "request"} <= {*item.fixturenames}  # type: ignore[attr-defined]


def test_keys_tell_definitions_apart(pytester: pytest.Pytester) -> None:
    session = session_of(pytester)
    keys = [sharing.key_of(name, each) for name, each in sharing.all_definitions(session)]
    assert len({*keys}) == len(keys)


def test_what_was_logged_and_printed_is_there_again(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    record = {"name": "own", "levelno": 30, "levelname": "WARNING", "msg": "text", "args": None}
    phases.replay([record, record | {"levelno": 5}], "out\n", "err\n")
    assert capsys.readouterr() == ("out\n", "err\n")
    assert [each.getMessage() for each in caplog.records] == ["text"]
