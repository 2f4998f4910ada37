"""From values to the functions behind them, and to what is known of their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache, partial
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import pytest

from pytest_braid.worker import project
from pytest_braid.worker.findings import UNKNOWN, Instance, Unloaded, definitions


class Part(NamedTuple):
    """A function, and what is known of its arguments."""

    function: Any  # a FunctionType, which mypy would take for a method
    given: frozenset[tuple[str, Instance]] = frozenset()


def functions(value: object) -> Iterator[FunctionType]:
    """The functions behind something that can be called, or looked up in a class."""
    for kind, inner in _INNER.items():
        if issubclass(type(value), kind):
            yield from functions(getattr(value, inner, None))
            return
    if type(value) is FunctionType:
        yield value


_INNER: Final[dict[type, str]] = {
    MethodType: "__func__",
    staticmethod: "__func__",
    classmethod: "__func__",
    partial: "func",
    property: "fget",
    cached_property: "func",
    type(lru_cache(int)): "__wrapped__",
}


def methods(cls: type | None, names: tuple[str, ...]) -> Iterator[Part]:
    """The project's methods of these names; of a class and those above it, for ``super()``."""
    for name in names if cls else ():
        for value in definitions(cls, name):  # type: ignore[arg-type]
            for function in functions(value):
                if is_readable(function):
                    yield Part(function, _bound(function, cls))  # type: ignore[arg-type]


def _bound(function: FunctionType, cls: type) -> frozenset[tuple[str, Instance]]:
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return frozenset({(names[0], Instance(cls))} if names else ())


def with_self(value: object) -> frozenset[tuple[str, Instance]]:
    """What is known of the arguments of a fixture: its ``self``, if it is a method."""
    known: dict[str, object] = {}
    if type(value) is MethodType and type(value.__func__) is FunctionType:
        names = value.__func__.__code__.co_varnames
        known[names[0]] = Instance(type(value.__self__))
    return instances(known)


def usual(function: FunctionType) -> dict[str, object]:
    """What arguments of these names are everywhere, handed on to a helper, too."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return {name: _USUAL[name] for name in names if name in _USUAL}


_USUAL: Final[dict[str, object]] = {
    "request": Instance(pytest.FixtureRequest),
    "caplog": Instance(pytest.LogCaptureFixture),
}


def instances(known: Mapping[str, object]) -> frozenset[tuple[str, Instance]]:
    return frozenset((name, value) for name, value in known.items() if type(value) is Instance)


def class_of(value: object) -> type | None:
    if type(value) is Instance:
        return value.cls
    is_object = value is not UNKNOWN and not issubclass(type(value), _NO_OBJECTS)
    return type(value) if is_object else None


_NO_OBJECTS: Final = (type, ModuleType, FunctionType, Unloaded, dict, list, str)


def module_of(cls: object) -> object:
    return vars(cls).get("__module__")


def is_project(function: FunctionType) -> bool:
    return project.is_own(function.__code__.co_filename)


def is_readable(function: FunctionType) -> bool:
    """Whether it is the project's, or something installed around the project's."""
    return is_project(function) or function.__closure__ is not None


def in_closure(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty as yet
            continue
