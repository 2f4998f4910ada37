"""pluggy's callers of hooks, where a call is to do more than to call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import pytest

from pytest_braid.seam.routing import dress

_HOOK = "pytest_runtest_teardown"
_CHECK = "_verify_all_args_are_provided"


def provided(plugin: object) -> list[str]:
    """What a plugin brings that pytest looks for in objects: hooks and fixtures, by their names."""
    return [name for name in dir(plugin) if name.startswith("pytest_") or _is_fixture(plugin, name)]


def _is_fixture(plugin: object, name: str) -> bool:
    found = inspect.getattr_static(plugin, name, None)
    is_old = hasattr(found, "_pytestfixturefunction")  # before pytest 8.4
    return is_old or type(found).__name__ == "FixtureFunctionDefinition"


def decide_nextitem(config: pytest.Config, decided: Callable[[Any], Any]) -> None:
    """Let every hook of a teardown get ``decided(nextitem)`` in the place of ``nextitem``.

    A wrapper around the call would put a frame of ours into every traceback of a teardown. Before
    the call pluggy checks the arguments that it is about to pass on, in a method of its own: there
    one can be replaced. Without that method the stand-in is passed, which serves all but
    ``is None``.
    """
    if hasattr(getattr(config.hook, _HOOK), _CHECK):
        dress_callers(config, (_HOOK,), lambda kind: _deciding(kind, decided))


def _deciding(kind: Any, decided: Callable[[Any], Any]) -> dict[str, Any]:
    def check(self: Any, given: dict[str, Any]) -> None:
        given["nextitem"] = decided(given["nextitem"])
        getattr(kind, _CHECK)(self, given)

    return {_CHECK: check}


def remember_hooks(session: pytest.Session) -> None:
    """Let pytest find the hooks of a test at once, if no conftest is to be left out of them, and if
    they were asked for last of the same file. It asks seven times for each test, and looks each
    time whose conftests its folder has."""
    conftests: Any = getattr(session.config.pluginmanager, "_conftest_plugins", None)
    if conftests is None:
        return
    find, hooks = session.gethookproxy, session.config.hook
    latest: tuple[Any, int] = None, 0

    def gethookproxy(fspath: Any) -> Any:
        nonlocal latest
        path, count = latest
        if path is fspath and count == len(conftests):
            return hooks
        found: Any = find(fspath)
        if found is hooks:
            latest = fspath, len(conftests)
        return found

    session.gethookproxy = gethookproxy  # type: ignore[method-assign]


def dress_callers(
    config: pytest.Config, names: Collection[str], methods: Callable[[Any], dict[str, Any]]
) -> None:
    """Give the callers of these hooks classes of their own. ``methods`` makes of the class that one
    had what it is to have in addition."""
    manager: Any = config.pluginmanager
    for name in names:
        _dress_once(getattr(config.hook, name), methods)
    # Where a folder's conftest has no part in it, pytest calls the hook through a copy.
    subset = manager.subset_hook_caller

    def dressed_subset(name: str, *args: Any, **more: Any) -> Any:
        caller = subset(name, *args, **more)
        if name in names:
            _dress_once(caller, methods)
        return caller

    manager.subset_hook_caller = dressed_subset


def _dress_once(caller: Any, methods: Callable[[Any], dict[str, Any]]) -> None:
    """A copy with nothing left out is the caller itself."""
    kind = type(caller)
    if not hasattr(kind, "is_dressed"):
        dress(caller, {"__slots__": (), "is_dressed": True, **methods(kind)})
