"""Attributes of shared objects that running tests have each of their own.

The object gets a class of its own, whose descriptors ask who is asking. So whoever reads
``sys.stdout`` or assigns it reads and assigns what is the running test's; code that runs for no
test, what everybody shares. What a test has not assigned is what it shares, or a fresh value.

Code that does not go through the object's class (C code looks into the dictionary of a module, a
module's own functions into their globals) finds a forwarder there, where one is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Values = Callable[[], dict[str, Any] | None]
"""What is the running test's own, by name; ``None`` if no test on a strand runs."""


def in_context(values: Values) -> Values:
    """What finds the same in the context of the running code, if it is there, without a call of
    Python code: to be asked first where it is asked often."""
    found: Values = getattr(values, "in_context", values)
    return found


Fresh = Callable[[Any], Any]
"""A test's first value of an attribute, made of the shared one."""

_ABSENT: Any = object()


def share(value: Any) -> Any:
    """A test begins with what all share."""
    return value


class Routed:
    """A data descriptor: the running test's own value, or else the shared one."""

    def __init__(self, key: str, values: Values, shared: dict[str, Any], fresh: Fresh) -> None:
        self.key, self.values, self.shared, self.fresh = key, values, shared, fresh
        self.in_context = in_context(values)
        self.name = key.rpartition(".")[2]

    def __get__(self, target: object, kind: type | None = None) -> Any:
        own = self.in_context() or self.values()
        if own is None:
            found = self.shared.get(self.name, _ABSENT)
        elif self.key in own:
            found = own[self.key]
        else:
            found = self.shared.get(self.name, _ABSENT)
            if self.fresh is not share:
                found = own[self.key] = self.fresh(found)
        if found is _ABSENT:
            raise AttributeError(self.name)
        return found

    def __set__(self, target: object, value: Any) -> None:
        own = self.in_context() or self.values()
        if own is None:
            self.shared[self.name] = value
        else:
            own[self.key] = value

    def __delete__(self, target: object) -> None:
        own = self.in_context() or self.values()
        self.read()
        if own is None:
            del self.shared[self.name]
        else:
            own[self.key] = _ABSENT

    def read(self) -> Any:
        """For a forwarder."""
        return self.__get__(None)


def key_of(target: Any, name: str) -> str:
    """Under which name an attribute of an object is found among a test's own."""
    return f"{getattr(target, '__name__', type(target).__name__)}.{name}"


AT_END = "at end"
"""What a test has borrowed: functions to be called when it is over."""


class Pool:
    """Objects that tests use one after another, as all of a serial run use one and the same."""

    def __init__(self, make: Callable[[], Any], is_clean: Callable[[Any], bool]) -> None:
        self._make = make
        self._is_clean = is_clean
        self._free: list[Any] = []

    def lend(self, own: dict[str, Any]) -> Any:
        """One for the running test, until it is over."""
        thing = self._free.pop() if self._free else self._make()
        own.setdefault(AT_END, []).append(lambda: self._take_back(thing))
        return thing

    def _take_back(self, thing: Any) -> None:
        if self._is_clean(thing):
            self._free.append(thing)


class Forwarder:
    """Stands where the class of an object is not asked; passes everything on."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._read(), name)

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self._read()(*args, **more)

    def __repr__(self) -> str:
        return repr(self._read())


def dress(target: Any, attributes: Mapping[str, Any]) -> type:
    """Give one object a class of its own, with these; the one it had is returned."""
    kind: type = type(target)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    target.__class__ = type(kind.__name__, (kind,), {**named, **attributes})
    return kind


@contextmanager
def routed(
    target: Any,
    values: Values,
    attributes: Mapping[str, Fresh],
    forwarders: Mapping[str, Callable[[Callable[[], Any]], Any]] | None = None,
    kinds: Mapping[str, type[Routed]] | None = None,
) -> Iterator[None]:
    """Let each running test have its own of these ``attributes`` of ``target``.

    ``forwarders`` make, of a function that reads one, what stands in the dictionary meanwhile.
    ``kinds`` are descriptors for those that need another one.
    """
    contents = vars(target)
    forwarders = {name: make for name, make in (forwarders or {}).items() if name in contents}
    aside = {name: contents[name] for name in forwarders}

    def route(name: str, fresh: Fresh) -> Routed:
        shared = aside if name in aside else contents
        routing = (kinds or {}).get(name, Routed)
        return routing(key_of(target, name), values, shared, fresh)

    routes = {name: route(name, fresh) for name, fresh in attributes.items()}
    kind = dress(target, routes)
    contents.update({name: make(routes[name].read) for name, make in forwarders.items()})
    try:
        yield
    finally:
        target.__class__ = kind
        for name in forwarders:
            del contents[name]
        contents.update(aside)


def missing(target: object, attributes: Mapping[str, Any]) -> str | None:
    """The first of these attributes that an object has not, in words, if so."""
    for name in attributes:
        if not hasattr(target, name):
            label = getattr(target, "__name__", type(target).__qualname__)
            return f"{label}.{name} is not there"
    return None


def takes_otherwise(function: Any, *names: str) -> str | None:
    """In words: that a function does not take these as its first arguments, if so."""
    found = [*inspect.signature(function).parameters][: len(names)]
    if found == [*names]:
        return None
    return f"{function.__qualname__} takes ({', '.join(found)}), not ({', '.join(names)})"
