"""Which tests the event loop of a worker runs, as tasks."""

from __future__ import annotations

import inspect
import unittest
from typing import Any, Final, NamedTuple

import pytest

from pytest_braid.seam import closures, fixtures

SEED_MARK = "asyncio_cooperative"

only_marked: Final = pytest.StashKey[bool]()
"""Set where nobody has asked for tasks but the tests that have this mark."""


def is_async(function: object) -> bool:
    """Whether calling it gives something to await, or to iterate over asynchronously."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def is_task(item: pytest.Item) -> bool:
    """Whether it is an async test that runs in our event loop: one that is marked for asyncio, by
    whatever plugin's mark or mode; one without any mark, if no plugin is there that would know what
    to do with it. A test of another event loop stays with its plugin."""
    found = item.stash.get(_found_key, None)
    if found is None:
        found = item.stash[_found_key] = isinstance(item, pytest.Function) and _is_task(item)
    return found


_found_key: Final = pytest.StashKey[bool]()


def _is_task(item: pytest.Function) -> bool:
    cls = None if type(item.parent) is pytest.Module else item.cls  # which takes long to find
    if cls is not None and issubclass(cls, unittest.TestCase):
        return False  # it has a loop of its own
    function, marks = function_of(item), {mark.name for mark in item.iter_markers()}
    if SEED_MARK in marks:
        return not inspect.isasyncgenfunction(function)
    if not inspect.iscoroutinefunction(function) or only_marked in item.config.stash:
        return False
    if "trio" in marks:
        return False
    modes = _modes(item.config)
    if "anyio" in marks or modes.anyio:
        return _is_on_asyncio(item)
    if "asyncio" in marks or (modes.asyncio and not modes.trio):
        return not _has_policy(item)
    return False


def stays_with_plugin(item: pytest.Item) -> bool:
    """Whether a test has its async fixtures from its plugin: an async one that is not ours, and any
    for which anyio has another backend than our loop."""
    if not isinstance(item, pytest.Function):
        return False
    if is_async(function_of(item)):
        return not is_task(item)
    return not _is_on_asyncio(item)


def function_of(item: pytest.Function) -> Any:
    """The function that the test's author wrote."""
    found: Any = item.obj
    hypothesis = getattr(found, "hypothesis", None)
    return getattr(hypothesis, "inner_test", found)


def is_auto(config: pytest.Config) -> bool:
    """Whether async tests need no mark: by ``asyncio_mode``, or without pytest-asyncio."""
    mode = getattr(config.option, "asyncio_mode", None) or _ini(config, "asyncio_mode")
    if mode:
        return str(mode) == "auto"
    return not has_pytest_asyncio(config)


def has_pytest_asyncio(config: pytest.Config) -> bool:
    return any(map(config.pluginmanager.hasplugin, ("asyncio", "pytest_asyncio.plugin")))


class _Modes(NamedTuple):
    """For which plugins async tests need no mark."""

    anyio: bool
    asyncio: bool
    trio: bool


def _modes(config: pytest.Config) -> _Modes:
    found = config.stash.get(_modes_key, None)
    if found is None:
        anyio = getattr(config.option, "anyio_mode", None), _ini(config, "anyio_mode")
        found = _Modes("auto" in anyio, is_auto(config), bool(_ini(config, "trio_mode")))
        config.stash[_modes_key] = found
    return found


_modes_key: Final = pytest.StashKey[_Modes]()


def _ini(config: pytest.Config, name: str) -> object:
    try:
        return config.getini(name)
    except ValueError:  # nobody has declared it
        return None


def _has_policy(item: pytest.Function) -> bool:
    """Whether the project makes its loops itself, by the fixture of pytest-asyncio."""
    asked = fixtures.visible(item)
    if any(name in asked for name in _POLICIES):
        return _sees_policy(item)
    stash = (item.parent or item).stash  # it is the same for all others there
    found = stash.get(_policy_key, None)
    if found is None:
        found = stash[_policy_key] = _sees_policy(item)
    return found


def _sees_policy(item: pytest.Function) -> bool:
    known = (fixtures.definitions(item, name) or () for name in _POLICIES)
    return any(not _module(each[-1]).startswith("pytest_asyncio") for each in known if each)


_policy_key: Final = pytest.StashKey[bool]()

_POLICIES: Final = ("event_loop_policy", "event_loop")


def _is_on_asyncio(item: pytest.Function) -> bool:
    """Whether anyio's fixture ``anyio_backend`` names asyncio, with no options that matter."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "anyio_backend" in callspec.params:
        return _names_asyncio(callspec.params["anyio_backend"])
    found = [each for each in closures.definitions(item) if each.argname == "anyio_backend"]
    if not found:
        return True  # of an async test anyio would make a variant for each backend
    function: Any = found[0].func
    if inspect.isgeneratorfunction(function) or is_async(function) or found[0].argnames:
        return False
    is_method = inspect.ismethod(function)
    return _names_asyncio(function.__func__(function.__self__) if is_method else function())


def _names_asyncio(backend: object) -> bool:
    if isinstance(backend, tuple | list) and backend:
        return backend[0] == "asyncio" and not (len(backend) > 1 and backend[1])
    return backend == "asyncio"


def _module(definition: pytest.FixtureDef[Any]) -> str:
    return str(getattr(definition.func, "__module__", ""))
