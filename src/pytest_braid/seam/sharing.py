"""pytest's fixture definitions, as far as some are set up elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest
from _pytest import fixtures as private
from _pytest.scope import Scope

from pytest_braid.seam.fixtures import MADE_OF

_BY_NODE = ("_arg2node2fixturedefs", "_arg2nodeid2fixturedefs")
"""Attributes of ``FixtureManager`` that hold definitions by name, and then by node."""


def why_not(session: pytest.Session) -> str | None:
    """What is built otherwise than this module knows it, if anything is."""
    manager = getattr(session, "_fixturemanager", None)
    infos = (getattr(item, "_fixtureinfo", None) for item in session.items)
    info = next(filter(None, infos), None)
    wanted = {
        "FixtureManager._arg2fixturedefs": hasattr(manager, "_arg2fixturedefs")
        or all(hasattr(manager, name) for name in _BY_NODE),
        "FuncFixtureInfo.initialnames": info is None or hasattr(info, "initialnames"),
        "FuncFixtureInfo.names_closure": info is None
        or isinstance(getattr(info, "names_closure", None), list),
        "FuncFixtureInfo.prune_dependency_tree": hasattr(
            private.FuncFixtureInfo, "prune_dependency_tree"
        ),
        "Function._initrequest": hasattr(pytest.Function, "_initrequest"),
    }
    missing = [name for name, is_there in wanted.items() if not is_there]
    return f"pytest {pytest.__version__} has no {missing[0]}" if missing else None


def all_definitions(session: pytest.Session) -> Iterator[tuple[str, Any]]:
    """Every fixture definition of the session, and the name under which it is known."""
    manager: Any = session._fixturemanager
    if hasattr(manager, "_arg2fixturedefs"):
        for name, definitions in manager._arg2fixturedefs.items():
            yield from ((name, definition) for definition in definitions)
        return
    for attribute in _BY_NODE:  # pytest 9.1
        for name, by_node in getattr(manager, attribute, {}).items():
            for definitions in by_node.values():
                yield from ((name, definition) for definition in definitions)


def is_of_session(definition: Any) -> bool:
    return definition._scope is Scope.Session


def key_of(name: str, definition: Any) -> str:
    """Names a definition in every process that has collected the same tests."""
    function = definition.func
    home = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return f"{name} of {definition.baseid or '.'}: {'.'.join(home)}"


def visible(item: pytest.Item) -> dict[str, Any]:
    """The definitions that the test requests, by name; none, if it has no fixtures."""
    info = getattr(item, "_fixtureinfo", None)
    return {} if info is None else info.name2fixturedefs


def initial_names(item: pytest.Item) -> tuple[str, ...]:
    """The fixtures that a test asks for itself, those for all tests (autouse) included."""
    info = getattr(item, "_fixtureinfo", None)
    return () if info is None else tuple(info.initialnames)


def asked_by_test(item: pytest.Item) -> tuple[str, ...]:
    """The names of the arguments of its function."""
    info = getattr(item, "_fixtureinfo", None)
    return () if info is None else tuple(info.argnames)


def params_of(item: pytest.Item) -> dict[str, object]:
    """The values of its parameters, by name."""
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


def prune(item: pytest.Item) -> None:
    """Leave out of what is set up for a test what only a replaced definition had asked for."""
    item._fixtureinfo.prune_dependency_tree()  # type: ignore[attr-defined]


def replace_function(definition: Any, function: Callable[..., Any], names: tuple[str, ...]) -> None:
    """Let pytest call another function, with these fixtures as arguments."""
    definition.func, definition.argnames = function, names


def keep_value_for(definition: Any, key: Callable[[Any], object], made_of: tuple[str, ...]) -> None:
    """Let pytest keep the value as long as ``key`` of the request is the same, which is otherwise
    the definition's own parameter. It is made of other fixtures than its function asks for now."""
    definition.cache_key = key
    setattr(definition, MADE_OF, made_of)


def keep_value_as_ever(definition: Any) -> None:
    """Undo that."""
    for name in ("cache_key", MADE_OF):
        definition.__dict__.pop(name, None)


def item_of(request: Any) -> pytest.Item:
    """The test for which a fixture is set up, of whatever scope."""
    return request._pyfuncitem  # type: ignore[no-any-return]


def begin_anew(item: Any) -> Any:
    """A request that knows of nothing that was set up for the test; returns it."""
    item._initrequest()
    return item._request


def set_up_by_name(request: Any, name: str) -> object:
    """What ``request.getfixturevalue`` does, without its frames."""
    __tracebackhide__ = True
    return request._get_active_fixturedef(name)


def is_pytests_own(definition: Any) -> bool:
    code: CodeType | None = getattr(definition.func, "__code__", None)
    module = str(getattr(definition.func, "__module__", ""))
    return code is None or module.partition(".")[0] in ("_pytest", "pytest_braid")
