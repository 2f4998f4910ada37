"""Which tests must not run beside others in one process, and why.

Some say it themselves, by a mark. Of the others the fixtures are looked at, and the code: of the
test, of its fixtures, and of all functions of the project that these name, wherever they lead. What
they do to something that the whole process shares is a reason (``worker.hazards``); what was
overlooked, ``worker.guard`` catches in the act.
"""

from __future__ import annotations

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from logging import Logger
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest

from pytest_braid.seam import closures
from pytest_braid.worker import hazards, kinds, project
from pytest_braid.worker.asyncs import is_task
from pytest_braid.worker.findings import (
    UNKNOWN,
    Called,
    Changed,
    Instance,
    Loaded,
    Reading,
    Unloaded,
    Use,
)
from pytest_braid.worker.functions import (
    Part,
    class_of,
    functions,
    in_closure,
    instances,
    is_project,
    is_readable,
    methods,
    module_of,
    usual,
    with_self,
)
from pytest_braid.worker.reading import is_silent, read


def reason(item: pytest.Item) -> str | None:
    """Why this test must not run in a thread beside others, in a few words; ``None`` if it may.

    ``os.chdir in helper() (tests/test_it.py:12)``
    """
    return _detection(item.config).reason(item)


def reason_for(threads: int, tasks: int) -> Callable[[pytest.Item], str | None]:
    """Finds out why a test must run alone in its process, where there are so many threads for
    tests, and so many tasks for async ones."""

    def why(item: pytest.Item) -> str | None:
        if tasks and is_task(item):
            return _detection(item.config, in_loop=True).reason(item, is_task=True)
        return reason(item) if threads else "no async test, and no --threads"

    return why


def reasons(items: Iterable[pytest.Item], threads: int, tasks: int) -> list[str | None]:
    """That of each test."""
    return [*map(reason_for(threads, tasks), items)]


def fixture_reason(definition: pytest.FixtureDef[Any], item: pytest.Item) -> str | None:
    """The same of a single fixture, for one that a test asks for while it runs."""
    return _detection(item.config, in_loop=is_task(item)).of_fixture(definition)


def is_for_all(definition: pytest.FixtureDef[Any], session: pytest.Session) -> bool:
    """Whether every test waits for this fixture before it runs anything of its own.

    What it does to the process is done before all tests and undone behind them: no reason to step
    aside. The guard has to let it (``Guard.permitting``).
    """
    return _detection(session.config).is_for_all(definition, session)


def _detection(config: pytest.Config, *, in_loop: bool = False) -> _Detection:
    """Of code that an event loop runs, or of any other: what it does is not the same."""
    key = _IN_LOOP if in_loop else _KEY
    if key not in config.stash:
        config.stash[key] = _Detection(config, in_loop=in_loop)
    return config.stash[key]


class _Detection:
    """What has been found out about the code of one session."""

    def __init__(self, config: pytest.Config, *, in_loop: bool) -> None:
        self._in_loop = in_loop
        self._hazards = hazards.Hazards(config.getini("thread_unsafe_functions"))
        self._fixtures = {*config.getini("thread_unsafe_fixtures")}
        self._root = config.rootpath
        self._found: dict[Part, str | None] = {}
        self._readings: dict[Part, Reading] = {}
        self._of_fixtures: dict[pytest.FixtureDef[Any], str | None] = {}
        self._results: dict[pytest.FixtureDef[Any], object] = {}
        self._for_all: dict[pytest.FixtureDef[Any], bool] = {}
        self._repeated: set[int] | None = None
        self._marked: dict[Any, bool] = {None: False}
        """Of collectors, whether tests in them have a mark from there."""

    def reason(self, item: pytest.Item, *, is_task: bool = False) -> str | None:
        if self._is_repeated(item):
            return "collected more than once"
        is_plain = _is_plain(item, is_task=is_task)  # most are
        return (
            (kinds.of_marks(item) if item.own_markers or self._is_marked(item.parent) else None)
            or (None if is_plain else kinds.of_kind(item, is_task=is_task))
            or (None if is_task else kinds.of_async_fixture(item))
            or self._of_closure(item)
            or (None if is_plain else self._of_code(item))
        )

    def _is_repeated(self, item: pytest.Item) -> bool:
        """Whether the collection has this very object twice: it has one set of values."""
        if self._repeated is None:
            times = Counter(map(id, getattr(item.session, "items", ())))
            self._repeated = {identity for identity, count in times.items() if count > 1}
        return id(item) in self._repeated

    def _is_marked(self, node: Any) -> bool:
        if node not in self._marked:
            self._marked[node] = bool(node.own_markers) or self._is_marked(node.parent)
        return self._marked[node]

    # Fixtures.

    def _of_closure(self, item: pytest.Item) -> str | None:
        for definition in closures.definitions(item):
            found = self.of_fixture(definition)
            if found and not self.is_for_all(definition, item.session):
                return found
        return None

    def of_fixture(self, definition: pytest.FixtureDef[Any]) -> str | None:
        if definition not in self._of_fixtures:
            self._of_fixtures[definition] = self._look_at(definition)
        return self._of_fixtures[definition]

    def _look_at(self, definition: pytest.FixtureDef[Any]) -> str | None:
        name, function = definition.argname, definition.func
        if name in self._fixtures or _is_listed(definition):
            return f"fixture {name}"
        starts = [Part(each, with_self(function)) for each in functions(function)]
        return self._of_parts(starts, f"fixture {name}")

    def is_for_all(self, definition: pytest.FixtureDef[Any], session: pytest.Session) -> bool:
        if definition.scope != "session" or _is_listed(definition):
            return False
        if definition not in self._for_all:
            self._for_all[definition] = all(
                definition in closures.definitions(item) for item in session.items
            )
        return self._for_all[definition]

    def _result(self, definition: pytest.FixtureDef[Any]) -> object:
        """What a fixture gives to tests, if its code says so."""
        if definition not in self._results:
            found = [*functions(definition.func)]
            known = found and not is_silent(found[0])
            self._results[definition] = read(found[0], {}).result if known else UNKNOWN
        return self._results[definition]

    # Code.

    def _of_code(self, item: pytest.Item) -> str | None:
        starts = [
            Part(function, self._given(item, function))
            for value in kinds.values(item)
            for function in functions(value)
        ]
        return self._of_parts(starts, "")

    def _given(self, item: pytest.Item, function: FunctionType) -> frozenset[tuple[str, Instance]]:
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        if not names:
            return frozenset()
        known: dict[str, object] = {
            definition.argname: self._result(definition)
            for definition in closures.definitions(item)
            if definition.argname in names
        }
        cls = getattr(item, "cls", None)
        if cls is not None:
            known[names[0]] = Instance(cls)
        return instances(known)

    def _of_parts(self, starts: list[Part], label: str) -> str | None:
        """The nearest reason in all that can be reached from here.

        What leads to a reason has one, and where none was found at all, nothing of what was seen
        has: either way nothing is looked at twice.
        """
        came_from: dict[Part, Part | None] = dict.fromkeys(starts)
        queue = deque(starts)
        while queue:
            part = queue.popleft()
            if part not in self._found:
                found = self._own_reason(part, label if part in starts else None)
            else:
                found = self._found[part]
            if found:
                self._mark(part, came_from, found)
                return found
            if part not in self._found:
                for each in self._parts_of(part):
                    if each not in came_from:
                        came_from[each] = part
                        queue.append(each)
        self._found.update(dict.fromkeys(came_from))
        return None

    def _mark(self, part: Part | None, came_from: Mapping[Part, Part | None], found: str) -> None:
        while part is not None:
            self._found[part] = found
            part = came_from[part]

    def _own_reason(self, part: Part, label: str | None) -> str | None:
        """What the code of this function itself does; ``label`` says whose it is, if not its own
        name."""
        code = part.function.__code__
        where = f"{code.co_name}()" if label is None else label
        wrapped = self._of_wrapper(part.function)
        if wrapped:
            return f"{wrapped} around {where or 'the test'}"
        line, what = next(self._hazards_in(part), (0, ""))
        if not what:
            return None
        place = project.place(self._root, code.co_filename, line)
        return f"{what}{' in ' if where else ''}{where} ({place})"

    def _hazards_in(self, part: Part) -> Iterator[tuple[int, str]]:
        """Line and name of each."""
        if vars(part.function).get("__thread_safe__") is False:
            yield part.function.__code__.co_firstlineno, "__thread_safe__ = False"
        for use in self._reading(part).uses:
            found = self._of_use(use, part.function)
            if found:
                yield use.line, found

    def _of_wrapper(self, function: FunctionType) -> str | None:
        """Whether something has been wrapped around the project's code that replaces parts of the
        process meanwhile."""
        module = str(function.__globals__.get("__name__"))
        if "patchings" in vars(function) or module in {"unittest.mock", "mock.mock"}:
            return "unittest.mock.patch"
        return None if is_project(function) else self._hazards.package(module)

    def _reading(self, part: Part) -> Reading:
        if not is_project(part.function):
            return _NOTHING
        if part not in self._readings:
            given = {**usual(part.function), **dict(part.given)}
            silent = not given and is_silent(part.function)
            self._readings[part] = _NOTHING if silent else read(part.function, given)
        return self._readings[part]

    def _of_use(self, use: Use, function: FunctionType) -> str | None:
        match use:
            case Loaded():
                return self._of_load(use, function)
            case Changed():
                return self._of_change(use, function)
            case Called():
                return self._of_call(use)

    def _gives_running(self, function: FunctionType) -> bool:
        """Whether an event loop runs wherever this function is called."""
        return self._in_loop or inspect.iscoroutinefunction(function)

    def _of_load(self, use: Loaded, function: FunctionType) -> str | None:
        named = self._hazards.function(use.value)
        if named and not (named == _GET_LOOP and self._gives_running(function)):
            return named
        container = self._hazards.container(use.owner)
        if container:
            return f"{container}.{use.name}" if use.name in hazards.CHANGING else None
        cls = class_of(use.owner)
        if cls is pytest.FixtureRequest and use.name == "getfixturevalue":
            return self._of_asking(function)
        for each in cls.__mro__ if cls else ():
            names = hazards.METHODS.get(f"{each.__module__}.{each.__qualname__}")
            if names and use.name in names.split():
                return f"{each.__qualname__}.{use.name}"
        return None

    def _of_asking(self, function: FunctionType) -> str | None:
        """``request.getfixturevalue("monkeypatch")``"""
        texts = {each for each in function.__code__.co_consts if isinstance(each, str)}
        asked = texts & (_LISTED_NAMES | self._fixtures)
        return f"fixture {min(asked)}" if asked else None

    def _of_change(self, use: Changed, function: FunctionType) -> str | None:
        """A module may change what is its own: others' parts are what a test replaces."""
        owner = use.owner
        container = self._hazards.container(owner)
        if container:
            return container
        if issubclass(type(owner), ModuleType):
            is_foreign = vars(owner) is not function.__globals__
            name = f"{vars(owner).get('__name__')}.{use.name}"
        elif issubclass(type(owner), type):
            is_foreign = module_of(owner) != function.__module__
            name = f"{owner.__qualname__}.{use.name}"  # type: ignore[attr-defined]
        elif type(owner) is Unloaded:
            is_foreign, name = True, f"{owner.name}.{use.name}"
        elif class_of(owner) is Logger:
            is_foreign, name = True, f"Logger.{use.name}"
        else:
            return None
        return f"{name} =" if is_foreign and name not in hazards.ISOLATED else None

    def _of_call(self, use: Called) -> str | None:
        named = self._hazards.descriptor(use.value)
        if named and type(use.first) is int and use.first in _OUTPUT:
            return named
        named = self._hazards.child(use.value)
        if named is None:
            return None
        given = {*(use.keywords or ())}
        is_caught = "capture_output" in given or hazards.CHILDREN[named] <= given
        return None if is_caught and "preexec_fn" not in given else named

    # From function to function.

    def _parts_of(self, part: Part) -> Iterator[Part]:
        """What this function may call, as far as its code names it."""
        function = part.function
        for value in (function.__dict__.get("__wrapped__"), *in_closure(function)):
            if not is_project(function):
                yield from map(Part, functions(value))
        for use in self._reading(part).uses:
            match use:
                case Loaded(value=value) if value is not UNKNOWN:
                    yield from (Part(each) for each in functions(value) if is_readable(each))
                case Loaded(owner=owner, name=name):
                    yield from methods(class_of(owner), (name,))
                case Called(value=value) if issubclass(type(value), type):
                    yield from methods(value, _OF_INSTANCES)  # type: ignore[arg-type]
                case _:
                    pass


_KEY: Final = pytest.StashKey[_Detection]()
_IN_LOOP: Final = pytest.StashKey[_Detection]()

_OUTPUT: Final = (1, 2)
"""Descriptors of the process's output."""

_GET_LOOP: Final = "asyncio.get_event_loop"
"""Where one runs, it gives that one."""

_NOTHING: Final = Reading()

_OF_INSTANCES: Final = ("__new__", "__init__", "__post_init__", "__enter__", "__exit__", "__call__")
"""Methods that are called where a class and its instances are named, and not they."""

_LISTED_NAMES: Final = {name for names in hazards.FIXTURES.values() for name in names.split()} | {
    "mocker",
    "testdir",
}


def _is_listed(definition: pytest.FixtureDef[Any]) -> bool:
    module = str(getattr(definition.func, "__module__", ""))
    for each, names in hazards.FIXTURES.items():
        if hazards.is_below(module, (each,)):
            return not names or definition.argname in names.split()
    return False


def _is_plain(item: pytest.Item, *, is_task: bool) -> bool:
    """Whether no reason can lie in the code of this test, nor anywhere that it leads to."""
    if type(item) is not pytest.Function or type(item.parent) is not pytest.Module:
        return False
    value = item.obj
    is_short = kinds.is_bare(value, may_be_async=is_task) and not value.__code__.co_argcount
    return is_short and is_project(value) and is_silent(value)
