"""What a test says of itself by its marks and its kind: whether it may run beside others."""

from __future__ import annotations

import inspect
import unittest
from collections.abc import Iterator
from types import FunctionType
from typing import Final

import pytest

from pytest_braid.seam import closures
from pytest_braid.worker import hazards
from pytest_braid.worker.asyncs import is_async
from pytest_braid.worker.findings import definitions


def of_marks(item: pytest.Item) -> str | None:
    for mark in item.iter_markers():
        if mark.name == "thread_unsafe":
            why = mark.kwargs.get("reason") or next(iter(mark.args), None)
            return f"mark thread_unsafe: {why}" if why else "mark thread_unsafe"
        if mark.name in _COUNTING and mark.args[:1] == (1,):
            return f"mark {mark.name}(1)"
        if mark.name == "django_db":
            return "mark django_db"
    return None


_COUNTING: Final = {"parallel_threads", "parallel_threads_limit", "force_parallel_threads"}
"""Marks of pytest-run-parallel that give a number of threads."""


def of_async_fixture(item: pytest.Item) -> str | None:
    for definition in closures.definitions(item):
        if _is_async(definition.func):
            return f"async fixture {definition.argname}"
    return None


def of_kind(item: pytest.Item, *, is_task: bool) -> str | None:
    if isinstance(item, pytest.DoctestItem):
        return "doctest"
    if not isinstance(item, pytest.Function):
        return f"an item of class {type(item).__qualname__}, which runs in a way of its own"
    found = [value for value in values(item) if not is_bare(value)]
    if any(getattr(value, "is_hypothesis_test", False) is True for value in found):
        return "hypothesis test (its deadlines would measure other tests, too)"
    if not is_task and any(map(_is_async, found)):
        return "async test"
    cls = item.cls
    if cls is not None and issubclass(cls, unittest.TestCase):
        return _of_case(cls, item)
    return None


def _of_case(cls: type[unittest.TestCase], item: pytest.Item) -> str | None:
    for each in cls.__mro__:
        for module, why in hazards.CASES.items():
            if hazards.is_below(each.__module__, (module,)):
                return why
    for name in ("setUpClass", "tearDownClass"):
        if next(definitions(cls, name)) is not next(definitions(unittest.TestCase, name)):
            return f"class fixture {cls.__qualname__}.{name}"
    for name in ("setUpModule", "tearDownModule"):
        if hasattr(getattr(item, "module", None), name):
            return f"module fixture {name}"
    return None


def values(item: pytest.Item) -> Iterator[object]:
    """The test, and the methods around it that are no fixtures to pytest; without making an
    instance of its class, as ``item.obj`` would."""
    assert isinstance(item, pytest.Function)
    cls = item.cls
    if cls is None:
        yield item.obj
        return
    names = [item.originalname or item.name]
    if issubclass(cls, unittest.TestCase):
        names += ["run", "setUp", "tearDown", "asyncSetUp", "asyncTearDown"]
    for name in names:
        yield from definitions(cls, name)


def is_bare(value: object, *, may_be_async: bool = False) -> bool:
    """Whether it is a function, with nothing around it and nothing attached to it, and not async
    unless it may be: as most tests are, each of which is looked at."""
    if type(value) is not FunctionType or vars(value):
        return False
    return may_be_async or not value.__code__.co_flags & _ASYNC


_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def _is_async(value: object) -> bool:
    return is_async(inspect.unwrap(value) if callable(value) else value)
