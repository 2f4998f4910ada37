"""pytest-threaded: functions that become tests which run at once.

The names, and what each of them makes, are those of pytest-threaded 0.1.0. What runs the tests is
not: they are tests like all others, with marks, parameters and fixtures of every kind, and run in
threads because they have the mark ``concurrent``.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import pytest

from pytest_braid.fixtures import nested
from pytest_braid.fixtures.tree import running_item

F = TypeVar("F", bound=Callable[..., Any])

THREADS = 4
"""Tests that run at once where nobody says how many."""

_MARK = "__pytest_braid_concurrent__"
"""The attribute of functions that are to become tests."""

_generated: list[str] = []
"""Modules for which tests were made."""


def concurrent_test(function: F) -> F:
    """Have :func:`generate_tests` make a test of this function."""
    vars(function)[_MARK] = True
    marked: F = pytest.mark.concurrent(function)
    return marked


def concurrent_function_fixture(function: F) -> F:
    """Below ``@pytest.fixture``: nothing needs to be done, for every fixture serves such tests."""
    return function


def generate_tests(module_globals: dict[str, Any]) -> None:
    """Make tests of the functions of a module that have :func:`concurrent_test`.

    Of ``my_test`` that is ``test_my_test``, and ``dispatch_my_test``, a fixture that has the test
    run if it is not selected itself; ``test_all`` has all of them run. A name that begins with
    ``test_`` stays as it is.

    Args:
        module_globals: the module's ``globals()``, in its last line.
    """
    functions = {
        name.removeprefix("test_"): value
        for name, value in list(module_globals.items())
        if getattr(value, _MARK, False) and value.__globals__ is module_globals
    }
    for name, function in functions.items():
        module_globals.setdefault(f"test_{name}", function)
        module_globals[f"dispatch_{name}"] = _dispatcher(name)
    module_globals["test_all"] = _test_of_all(functions)
    _generated.append(module_globals["__name__"])


def has_generated() -> bool:
    """Whether tests of this process may run inside of others."""
    return bool(_generated)


def _dispatcher(name: str) -> Any:
    @pytest.fixture(scope="module", name=f"dispatch_{name}")
    def dispatch(request: pytest.FixtureRequest) -> Iterator[list[str]]:
        """Have the tests of one name run; those that are selected run by themselves."""
        runner, test = ConcurrentTestRunner(), running_item.get()
        selected = {item.nodeid for item in request.session.items}
        missing = [
            item for item in nested.items_of(request, f"test_{name}") if item.nodeid not in selected
        ]
        for item in missing:
            runner.dispatch(item.nodeid, nested.run, item, test)
        yield [item.nodeid for item in missing]
        for item in missing:
            runner.forget(item.nodeid)

    return dispatch


def _test_of_all(names: dict[str, Any]) -> Callable[[pytest.FixtureRequest], None]:
    @pytest.mark.concurrent
    @pytest.mark.usefixtures(*(f"dispatch_{name}" for name in names))
    def test_all(request: pytest.FixtureRequest) -> None:
        """Have all of them run, and fail with the first that fails."""
        __tracebackhide__ = True
        runner = ConcurrentTestRunner()
        dispatched = [
            each for name in names for each in request.getfixturevalue(f"dispatch_{name}")
        ]
        results = [runner.wait(each) for each in dispatched]
        for result in results:
            if result.exception is not None:
                raise result.exception

    return test_all


@dataclass(frozen=True)
class Result:
    """What became of a function that was dispatched."""

    name: str
    value: Any = None
    exception: BaseException | None = None


class ConcurrentTestRunner:
    """Runs functions in threads, by name. There is one: the arguments of the first count.

    Attributes:
        executor: runs them.
        results: a future of each, by its name.
        lock: is held while they are changed.
    """

    _only: ClassVar[Any] = None

    executor: ThreadPoolExecutor
    results: dict[str, Future[Result]]
    lock: threading.Lock

    def __new__(cls, max_workers: int = THREADS) -> Self:
        if cls._only is None:
            cls._only = runner = super().__new__(cls)
            runner.executor = ThreadPoolExecutor(max_workers)
            runner.results = {}
            runner.lock = threading.Lock()
        only: Self = cls._only
        return only

    def __init__(self, max_workers: int = THREADS) -> None: ...

    def dispatch(self, name: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``func`` called in a thread, under ``name``."""
        call = functools.partial(_called, name, func, *args, **kwargs)
        context = contextvars.copy_context()
        with self.lock:
            self.results[name] = self.executor.submit(context.run, call)

    def wait(self, name: str) -> Result:
        """What became of it, as soon as it is over.

        Raises:
            KeyError: nothing of this name was dispatched.
        """
        with self.lock:
            result = self.results[name]
        return result.result()

    def forget(self, name: str) -> None:
        """Wait for it, and let its name be free."""
        self.wait(name)
        with self.lock:
            del self.results[name]

    def shutdown(self) -> None:
        """Wait for everything; the next runner is a new one."""
        self.executor.shutdown(wait=True)
        if ConcurrentTestRunner._only is self:
            ConcurrentTestRunner._only = None


def _called(name: str, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Result:
    try:
        return Result(name, func(*args, **kwargs))
    except BaseException as error:  # noqa: BLE001 -- who waits for it raises it, a skip as well
        return Result(name, exception=error)


def is_concurrent(item: pytest.Item) -> bool:
    """Whether it is to run in a thread though nobody has asked for threads."""
    return item.get_closest_marker("concurrent") is not None
