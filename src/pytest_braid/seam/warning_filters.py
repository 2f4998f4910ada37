"""``warnings``: its filters, what shows a warning, and which were shown already.

The module is the process's (before Python 3.14's context-aware warnings). ``catch_warnings`` saves
its attributes and puts them back, ``warnings.warn``, in C, reads them: both get the running
test's. What was shown already, though, stands in a registry of the module that warns, and two tests
must not answer for each other there. So C code is given filters that say "always" where the
registry would be asked, and what then arrives to be shown is counted here, per test.

1. A test calls ``warnings.warn("old")``. C reads ``warnings.filters`` and gets :class:`OwnFilters`.
2. The first of what C finds in that list tells us the module that warns, and does not match.
3. Of the next, ("default", ...) stands there as ("always", ...): C calls ``_showwarnmsg``.
4. That looks for the filter among those that Python code sees, finds "default", and shows the
   warning if this test has not yet seen it at this line.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest import warnings as pytest_warnings

from pytest_braid.seam.routing import (
    Forwarder,
    Routed,
    Values,
    in_context,
    key_of,
    missing,
    routed,
    share,
    takes_otherwise,
)

_CATCH = "catch_warnings_for_item"

Filter = tuple[str, Any, type[Warning], Any, int]

_SHOWN = "warnings: shown"
_ONCE = frozenset({"default", "module", "once"})
_MUTATED = next(
    name
    for name in ("_filters_mutated", "_filters_mutated_lock_held")  # the latter since Python 3.14
    if hasattr(warnings, name)
)


class _Call(threading.local):
    """What is known of the warning that this thread is about to issue."""

    module: str = ""
    has_registry: bool = True

    def match(self, module: str) -> bool:
        """Called by C as if it were a pattern for the module."""
        self.module = module
        return False


_call = _Call()
_FIRST = ("ignore", None, Warning, _call, 0)
_LAST: Filter = ("always", None, Warning, None, 0)


def _for_c(real: Iterable[Filter]) -> list[Any]:
    always = (("always", *rest) if action in _ONCE else (action, *rest) for action, *rest in real)
    return [_FIRST, *always, _LAST]


class OwnFilters(list[Any]):
    """The filters of one test: ``real`` to Python code, and others to C code, which does not ask
    for methods of a list."""

    _latest: tuple[list[Filter], list[Any]] = ([], _for_c([]))
    """What was made for C last, and of what: most tests begin with the same filters."""

    def __init__(self, real: Iterable[Filter]) -> None:
        super().__init__()
        self.real = list(real)
        self.is_stale = True

    def renew(self) -> None:
        """Let C find what Python code has changed."""
        real, for_c = OwnFilters._latest
        if real != self.real:
            real = [*self.real]
            for_c = _for_c(real)
            OwnFilters._latest = real, for_c
        list.__setitem__(self, slice(None), for_c)
        self.is_stale = False


def _reading(name: str) -> Callable[..., Any]:
    def method(self: OwnFilters, *args: Any) -> Any:
        return getattr(self.real, name)(*args)

    return method


def _changing(name: str) -> Callable[..., Any]:
    def method(self: OwnFilters, *args: Any, **more: Any) -> Any:
        self.is_stale = True
        return getattr(self.real, name)(*args, **more)

    return method


_READ = (
    *("__contains__", "__eq__", "__getitem__", "__iter__", "__len__", "__ne__", "__repr__"),
    *("__reversed__", "copy", "count", "index"),
)
_CHANGE = (
    *("__delitem__", "__setitem__"),
    *("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"),
)
for _name in _READ:
    setattr(OwnFilters, _name, _reading(_name))
for _name in _CHANGE:
    setattr(OwnFilters, _name, _changing(_name))


class _FiltersForwarder(Forwarder):
    """What the functions of ``warnings`` find."""

    __slots__ = ()


def _forwarding(name: str) -> Callable[..., Any]:
    def method(self: _FiltersForwarder, *args: Any, **more: Any) -> Any:
        return getattr(self._read(), name)(*args, **more)

    return method


for _name in (*_READ, *_CHANGE):  # as methods: what is found by ``__getattr__`` is not found first
    setattr(_FiltersForwarder, _name, _forwarding(_name))


def _action(text: str, category: type[Warning], module: str, line: int) -> str:
    for action, message, kind, pattern, number in list(warnings.filters):
        if (
            _matches(message, text)
            and issubclass(category, kind)
            and _matches(pattern, module)
            and number in (0, line)
        ):
            return action
    return getattr(warnings, "defaultaction", "default")


def _matches(pattern: Any, text: str) -> bool:
    if pattern is None or pattern == text:
        return True
    return not isinstance(pattern, str) and bool(pattern.match(text))


def _is_shown_already(message: warnings.WarningMessage, own: dict[str, Any]) -> bool:
    """Whether the running test has shown this, and its filters say that this is enough."""
    text, category, module = str(message.message), message.category, _call.module
    action = _action(text, category, module, message.lineno)
    if action not in _ONCE or not _call.has_registry:
        return False
    keys = {
        "default": (module, text, category, message.lineno),
        "module": (module, text, category),
        "once": (text, category),
    }
    shown = own.setdefault(_SHOWN, set())
    is_shown = keys[action] in shown
    shown.add(keys[action])
    return is_shown


def _show(message: warnings.WarningMessage, *, values: Values) -> None:
    """In the place of ``warnings._showwarnmsg``, which looks into the module's globals."""
    own = values()
    if own is not None and _is_shown_already(message, own):
        return
    module: Any = warnings
    if module.showwarning is module._showwarning_orig:
        module._showwarnmsg_impl(message)
        return
    if not callable(module.showwarning):
        raise TypeError("warnings.showwarning() must be set to a function or method")
    given = (message.message, message.category, message.filename, message.lineno)
    module.showwarning(*given, message.file, message.line)


def _mutated(*, values: Values, original: Callable[[], None]) -> None:
    own = values()
    if own is not None:
        own.pop(_SHOWN, None)
    original()


_REGISTRY = 5
"""Where ``warn_explicit`` takes its registry."""


def _warn_explicit(*args: Any, original: Callable[..., None], **more: Any) -> None:
    """Without a registry nothing is remembered, and C does not tell us."""
    __tracebackhide__ = True
    registry = args[_REGISTRY] if len(args) > _REGISTRY else more.get("registry")
    before, _call.has_registry = _call.has_registry, registry is not None
    try:
        original(*args, **more)
    finally:
        _call.has_registry = before


class _RoutedFilters(Routed):
    """C code, too, comes by here, and only C code must find everything up to date."""

    def __get__(self, target: object, kind: type | None = None) -> Any:
        found = super().__get__(target)
        if type(found) is OwnFilters and found.is_stale:
            found.renew()
        return found

    def __set__(self, target: object, value: Any) -> None:
        is_own = isinstance(value, OwnFilters) or self.values() is None
        super().__set__(target, value if is_own else OwnFilters(value))

    def read(self) -> Any:
        return super().__get__(None)


class _Configured:
    """What pytest makes of the filters that all share, for a test without filters of its own: the
    same for one after another, so that it need not be made for each."""

    def __init__(self, config: pytest.Config, values: Values, mutated: Callable[[], None]) -> None:
        self._config, self._values, self._mutated = config, values, mutated
        self._running = in_context(values)
        self._catch: Any = getattr(pytest_warnings, _CATCH)
        self._latest: tuple[object, list[Filter] | None] = (None, None)
        """Of what they were made last, and what they were."""

    def catch(
        self, config: pytest.Config, ihook: Any, when: Any, item: pytest.Item | None, **more: Any
    ) -> Any:
        """In the place of ``catch_warnings_for_item``."""
        own = self._running() or self._values()
        if own is not None and item is not None and not more and self._suits(config, own, item):
            filters = self._filters(config)
            if filters is not None:
                return _Caught(own, filters, self._mutated, partial(self._tell, ihook, when, item))
        return self._catch(config=config, ihook=ihook, when=when, item=item, **more)

    def _suits(self, config: pytest.Config, own: dict[str, Any], item: pytest.Item) -> bool:
        """Whether it is a test of this run, around which nobody has set filters, or shows warnings
        in his own way, and without a mark."""
        return (
            config is self._config
            and own.keys().isdisjoint(_KEYS)
            and next(item.iter_markers(name="filterwarnings"), None) is None
        )

    def _filters(self, config: pytest.Config) -> list[Filter] | None:
        """As they are with what is configured; ``None`` if pytest has something to say of that."""
        shared = vars(type(warnings))["filters"].shared["filters"]
        given = config.known_args_namespace.pythonwarnings or []
        made_of = shared, config.getini("filterwarnings"), given, sys.warnoptions
        before, filters = self._latest
        if made_of != before:
            before = tuple(map(list, made_of))
            said: list[object] = []
            hook = SimpleNamespace(call_historic=lambda **kwargs: said.append(kwargs))
            ihook = SimpleNamespace(pytest_warning_recorded=hook)
            with self._catch(config=config, ihook=ihook, when="runtest", item=None):
                filters = list(warnings.filters)  # type: ignore[arg-type]
            if said:
                filters = None
            self._latest = before, filters
        return filters

    @staticmethod
    def _tell(ihook: Any, when: Any, item: pytest.Item, message: warnings.WarningMessage) -> None:
        told = {"warning_message": message, "when": when, "nodeid": item.nodeid, "location": None}
        ihook.pytest_warning_recorded.call_historic(kwargs=told)


class _Caught:
    """What pytest does around such a test: set its filters, record what it is warned of, and tell
    it."""

    __slots__ = ("_filters", "_log", "_mutated", "_own", "_tell")

    def __init__(
        self,
        own: dict[str, Any],
        filters: list[Filter],
        mutated: Callable[[], None],
        tell: Callable[[warnings.WarningMessage], None],
    ) -> None:
        self._own, self._filters, self._mutated, self._tell = own, filters, mutated, tell

    def __enter__(self) -> None:
        own = self._own
        self._log: list[warnings.WarningMessage] = []
        filters, show, record = _KEYS
        own[filters] = OwnFilters(self._filters)
        own[show], own[record] = vars(warnings)["_showwarning_orig"], self._log.append
        own.pop(_SHOWN, None)
        self._mutated()  # what was shown where no test ran may be shown again

    def __exit__(self, *_exception: object) -> None:
        for key in (*_KEYS, _SHOWN):
            self._own.pop(key, None)
        for message in self._log:
            self._tell(message)


_FRESH = {"filters": OwnFilters, "showwarning": share, "_showwarnmsg_impl": share}
_FORWARDERS = {"filters": _FiltersForwarder, "_showwarnmsg_impl": Forwarder}
_KEYS = tuple(key_of(warnings, name) for name in ("filters", "showwarning", "_showwarnmsg_impl"))
_FUNCTIONS = ("_showwarnmsg", _MUTATED, "warn_explicit")


def probe(_: pytest.Config) -> str | None:
    """Whether all are there."""
    return (
        missing(warnings, dict.fromkeys((*_FRESH, *_FUNCTIONS, "_showwarning_orig")))
        or missing(pytest_warnings, {_CATCH: None})
        or takes_otherwise(getattr(pytest_warnings, _CATCH), "config", "ihook", "when", "item")
    )


@contextmanager
def isolated(config: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test have its own filters and recordings, and count what it was shown."""
    contents: Any = vars(warnings)
    originals = {name: contents[name] for name in _FUNCTIONS}
    kinds = {"filters": _RoutedFilters}
    with routed(warnings, values, _FRESH, _FORWARDERS, kinds):
        contents["_showwarnmsg"] = partial(_show, values=values)
        contents[_MUTATED] = partial(_mutated, values=values, original=originals[_MUTATED])
        contents["warn_explicit"] = partial(_warn_explicit, original=originals["warn_explicit"])
        configured = _Configured(config, values, originals[_MUTATED])
        catch = getattr(pytest_warnings, _CATCH)
        if _MUTATED == "_filters_mutated":  # the other one wants a lock
            setattr(pytest_warnings, _CATCH, configured.catch)
        try:
            yield
        finally:
            setattr(pytest_warnings, _CATCH, catch)
            contents.update(originals)
