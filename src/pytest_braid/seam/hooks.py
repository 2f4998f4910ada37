"""pluggy's call of a hook, where an argument must be decided as late as the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

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
    manager: Any = config.pluginmanager
    if not hasattr(getattr(config.hook, _HOOK), _CHECK):
        return
    _let_decide(getattr(config.hook, _HOOK), decided)
    # Where a folder's conftest has no part in it, pytest calls the hook through a copy.
    subset = manager.subset_hook_caller

    def deciding_subset(name: str, *args: Any, **more: Any) -> Any:
        caller = subset(name, *args, **more)
        if name == _HOOK:
            _let_decide(caller, decided)
        return caller

    manager.subset_hook_caller = deciding_subset


def _let_decide(caller: Any, decided: Callable[[Any], Any]) -> None:
    """Give one caller a class of its own."""
    kind: Any = type(caller)
    if hasattr(kind, "decides"):
        return

    def check(self: Any, given: dict[str, Any]) -> None:
        given["nextitem"] = decided(given["nextitem"])
        getattr(kind, _CHECK)(self, given)

    caller.__class__ = type(
        kind.__name__, (kind,), {"__slots__": (), "decides": True, _CHECK: check}
    )
