"""pytest's fixture definitions and setup state, as far as tests that run beside each other cannot
share them.

pytest keeps the value of a fixture in its definition, ``FixtureDef.cached_result``, and looks
definitions up by name in a mapping that each test's ``request`` has. So a copy of a definition is
an instance of the fixture of its own, and a test whose mapping holds copies shares with others
what they are given, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Any

import pytest
from _pytest import fixtures as private
from _pytest import runner
from _pytest.scope import Scope

TEST_OUTCOME: tuple[type[BaseException], ...] = runner.TEST_OUTCOME  # type: ignore[attr-defined]
"""What setup and teardown may raise without ending the run."""

_MAPPING = "_arg2fixturedefs"
_CACHE = ("cached_result", "_finalizers")


def why_not(session: pytest.Session) -> str | None:
    """What is built otherwise than this module knows it, if anything is."""
    state: Any = getattr(session, "_setupstate", None)
    wanted = {
        "Session._setupstate": state is not None,
        "SetupState": all(
            hasattr(state, name) for name in ("stack", "setup", "addfinalizer", "teardown_exact")
        ),
        "FixtureDef.execute, .finish": all(
            hasattr(private.FixtureDef, name) for name in ("execute", "finish", "addfinalizer")
        ),
        "get_scope_node": hasattr(private, "get_scope_node"),
        "get_scope_package": hasattr(private, "get_scope_package"),
        "Session._fixturemanager": hasattr(session, "_fixturemanager"),
        "FixtureDef.cached_result": _keeps_its_cache(session),
        "request._arg2fixturedefs": _has_mapping(session),
    }
    missing = [name for name, is_there in wanted.items() if not is_there]
    return f"pytest {pytest.__version__} has no {missing[0]}" if missing else None


def _keeps_its_cache(session: pytest.Session) -> bool:
    infos = (getattr(item, "_fixtureinfo", None) for item in session.items)
    found = (one for info in infos if info for of in info.name2fixturedefs.values() for one in of)
    return all(name in vars(one) for one in islice(found, 1) for name in _CACHE)


def _has_mapping(session: pytest.Session) -> bool:
    requests = (getattr(item, "_request", None) for item in session.items)
    found = next(filter(None, requests), None)
    return found is None or _MAPPING in vars(found)


def setup_state(session: pytest.Session) -> object:
    """The session's ``SetupState``, or what stands in its place."""
    state: object = session._setupstate
    return state


def replace_setup_state(session: pytest.Session, tree: object) -> None:
    """Put something in the place of the session's ``SetupState``."""
    holder: Any = session
    holder._setupstate = tree


def mapping_of(item: pytest.Item | pytest.Session) -> Any:
    """The mapping from names to definitions that the test's request uses; ``None`` for an item
    without fixtures."""
    request = getattr(item, "_request", None)
    return getattr(request, _MAPPING, None) if request else None


def give_mapping(item: pytest.Item, mapping: object) -> None:
    item._request.__dict__[_MAPPING] = mapping  # type: ignore[attr-defined]


def mapping_behind(request: Any) -> Any:
    """The mapping of the test for which a fixture is requested."""
    return getattr(request, _MAPPING)


def definitions(item: pytest.Item, name: str) -> Sequence[Any] | None:
    """All definitions of that name that the test can see, the nearest one last."""
    known = visible(item).get(name)
    if known is not None:
        return known
    manager: Any = item.session._fixturemanager
    found: Sequence[Any] | None = manager.getfixturedefs(name, item)
    return found


def asked_by(item: pytest.Item) -> Sequence[str]:
    """The names of the fixtures that the test's own function asks for."""
    info = getattr(item, "_fixtureinfo", None)
    return info.argnames if info else ()


def closure(item: pytest.Item) -> list[Any]:
    """The definitions of all fixtures that the test needs, as far as that is known before."""
    info = getattr(item, "_fixtureinfo", None)
    return [one for of in info.name2fixturedefs.values() for one in of] if info else []


def fresh_request(item: pytest.Item) -> Any:
    """A request for a test that does not run, to be forgotten (``forget_request``)."""
    private: Any = item
    private._initrequest()
    return private._request


def forget_request(item: pytest.Item) -> None:
    """As pytest does behind a test."""
    private: Any = item
    private._request = False
    private.funcargs = None


def is_ending(session: pytest.Session) -> bool:
    """Whether the session's own fixtures are being torn down, or have been."""
    state: Any = setup_state(session)
    return session not in state.stack


def visible(item: pytest.Item) -> dict[str, Sequence[Any]]:
    """The definitions that the test requests, by name, as far as they are known before it runs."""
    return item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined, no-any-return]


def scope_node(definition: Any, item: pytest.Item) -> Any:
    """The node with which the fixture's value ends, for this test."""
    scope = definition._scope
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        scope = callspec._arg2scope.get(definition.argname, scope)
    if scope is Scope.Function:
        return item
    if scope is Scope.Package:
        return private.get_scope_package(item, definition)
    return private.get_scope_node(item, scope) or item


def set_up_dependencies(definition: Any, request: Any) -> None:
    """Have everything set up that a fixture's function asks for by name."""
    __tracebackhide__ = True
    for name in definition.argnames:
        request._get_active_fixturedef(name)


def made_of(definition: Any) -> Sequence[str]:
    """The names of the fixtures that its value depends on: what its function asks for, or, if it is
    set up elsewhere, had asked for."""
    names: Sequence[str] = vars(definition).get(MADE_OF, definition.argnames)
    return names


MADE_OF = "made_of"
"""Attribute of a definition that is set up elsewhere."""


def private_copy(definition: Any, kind: type | None = None) -> Any:
    """A definition like this one, without a value; of ``kind``, if given. It remembers the one
    (``definition``)."""
    copied: Any = object.__new__(kind or type(definition))
    copied.__dict__.update(
        definition.__dict__, cached_result=None, _finalizers=[], definition=definition
    )
    return copied


def is_set_up(instance: Any) -> bool:
    return instance.cached_result is not None


@contextmanager
def abandoning(instance: Any) -> Iterator[None]:
    """Around its setup: if that is cut by what is no outcome of it (a cancellation), whoever comes
    next begins anew."""
    try:
        yield
    except BaseException:
        if not is_set_up(instance):
            instance._finalizers.clear()
        raise


def forget_failure(instance: Any) -> None:
    """Let it be set up again, if that has failed."""
    if is_set_up(instance) and failure_of(instance) is not None:
        instance.cached_result = None
        instance._finalizers.clear()


def failure_of(instance: Any) -> tuple[BaseException, TracebackType | None] | None:
    """What its setup has raised, and where."""
    failure: tuple[BaseException, TracebackType | None] | None = instance.cached_result[2]
    return failure


def value_of(instance: Any) -> object:
    value: object = instance.cached_result[0]
    return value
