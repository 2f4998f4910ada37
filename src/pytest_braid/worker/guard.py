"""Nothing that a test on a thread does to the whole process goes unnoticed.

What ``worker.aside`` has overlooked is caught in the act: Python tells of many acts before it does
them (``sys.addaudithook``), and some functions and methods are replaced meanwhile. The act is not
done, and the test fails with a message that says what to do. It is told again to whoever asks for
the ``violations`` of a test, for a test may have swallowed the failure.

Only what the project's code does counts, and only in a test that has an owner: one that runs while
nothing else does has none, and may do anything. So may pytest and plugins.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import FrameType, ModuleType
from typing import Any, Final, NamedTuple, Self

import pytest

from pytest_braid.capture.ownership import Owner, owner
from pytest_braid.model.variables import variable
from pytest_braid.seam import patchers
from pytest_braid.worker import project
from pytest_braid.worker.aside import fixture_reason
from pytest_braid.worker.speech import Insist


class Act(NamedTuple):
    """Something that is about to be done to the process."""

    what: str
    why_not: str
    instead: str


class Guard:
    """Watches while strands run: a context manager, entered by one at a time."""

    def __init__(self, config: pytest.Config) -> None:
        self._root = config.rootpath
        self._violations: dict[Owner, list[str]] = {}
        self._undo = ExitStack()

    def violations(self, of: Owner) -> list[str]:
        """What this test has tried and was not allowed, in words."""
        return self._violations.get(of, [])

    def judge(self, call: pytest.CallInfo[Any]) -> Insist | None:
        """Fail this phase of the running test if it has swallowed its failure; before anybody makes
        a report of it. If it has tried anything, returns what is to be done with its report."""
        mine = owner() if self._violations else None
        found = [] if mine is None else self.violations(mine)
        if not found:
            return None
        if call.excinfo is None:
            call.excinfo = _failure("\n".join(found))
        found.clear()
        return _insist

    @contextmanager
    def permitting(self) -> Iterator[None]:
        """Around the setup and the teardown of a fixture that all tests wait for
        (``aside.is_for_all``): no other test runs anything of its own meanwhile."""
        token = _permitted.set(True)
        try:
            yield
        finally:
            _permitted.reset(token)

    def __enter__(self) -> Self:
        assert _state.guard is None
        _add_hook()
        for holder, name, act in _replaced():
            self._undo.enter_context(_watched(self, holder, name, act))
        _state.guard = self
        return self

    def __exit__(self, *_exception: object) -> None:
        _state.guard = None
        self._undo.close()

    def consider(self, act: Act) -> None:
        """Fail, if it is a test beside others that does this."""
        __tracebackhide__ = True
        mine = owner()
        if mine is None or _permitted.get():
            return
        place = self._place()
        if place is None:
            return
        message = (
            f"{act.what} at {place}: {act.why_not}, and other tests run in this process at the "
            f"same time. It was not done. {act.instead}, or mark the test with "
            "@pytest.mark.thread_unsafe: it then runs alone. "
            "(--braid-explain shows for each test how it runs, and why.)"
        )
        self._violations.setdefault(mine, []).append(message)
        pytest.fail(message)

    def _place(self) -> str | None:
        """Where the project's code does it; ``None``: no code of the project does."""
        frame = inspect.currentframe()
        while frame is not None and not project.is_own(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None:
            return None
        return project.place(self._root, frame.f_code.co_filename, frame.f_lineno)


def _insist(report: pytest.TestReport) -> None:
    """Nobody has expected this failure (``xfail``)."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
        report.outcome = "failed"


def _failure(text: str) -> pytest.ExceptionInfo[BaseException]:
    try:
        pytest.fail(text, pytrace=False)
    except pytest.fail.Exception as error:
        return pytest.ExceptionInfo.from_exception(error)


def _late(why: str) -> tuple[str, str]:
    return (f"it changes what all tests share ({why})", "Let the test ask for it as an argument")


class Judge:
    """A plugin that fails a test which asks late for a fixture that is not safe."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        """Of a fixture that nobody knew of before the test began (``getfixturevalue``)."""
        __tracebackhide__ = True
        mine = owner()
        if mine is None or fixturedef.argname in getattr(mine.item, "fixturenames", ()):
            return
        why = fixture_reason(getattr(fixturedef, "definition", fixturedef), mine.item)
        if why is not None:
            self._guard.consider(Act(f"request of {fixturedef.argname!r}", *_late(why)))


class _State:
    """A hook cannot be removed: it looks here whether it is to do anything."""

    guard: Guard | None = None
    is_hooked = False


_state: Final = _State()

_permitted: ContextVar[bool] = variable("pytest_braid_permitted", False)


# What Python tells of.

_DIRECTORY: Final = ("there is one working directory", "Use full paths, from tmp_path say")
_ENVIRONMENT: Final = ("there is one environment", "Hand the value to the code that needs it")
_CHILD: Final = (
    "what the new process prints would belong to no test",
    "Give it stdout= and stderr= of its own, or capture_output=True",
)
_FORK: Final = ("a copy would have the other tests in it", "Start a new interpreter (subprocess)")
_PROCESS: Final = ("it holds for the whole process", "Leave it out")
_REPLACEMENT: Final = (
    "all code in the process would meet the replacement",
    "Replace it in an object that belongs to the test, or hand it to the code under test",
)

_PYTESTS_OWN: Final = (b"PYTEST_CURRENT_TEST", "PYTEST_CURRENT_TEST")


def _chdir(args: tuple[Any, ...]) -> Act:
    return Act(f"os.chdir({_text(args[0])})", *_DIRECTORY)


def _putenv(args: tuple[Any, ...]) -> Act | None:
    return _of_variable(args[0], "change")


def _unsetenv(args: tuple[Any, ...]) -> Act | None:
    return _of_variable(args[0], "removal")


def _of_variable(name: object, what: str) -> Act | None:
    if name in _PYTESTS_OWN:
        return None
    return Act(f"{what} of os.environ[{_text(name)}]", *_ENVIRONMENT)


def _popen(args: tuple[Any, ...]) -> Act | None:
    if not patchers.inherits_output(_caller()):
        return None
    return Act(f"subprocess.Popen({_text(args[1])})", *_CHILD)


def _posix_spawn(args: tuple[Any, ...]) -> Act | None:
    if patchers.is_of_popen(_caller()):
        return None
    return Act(f"os.posix_spawn({_text(args[0])})", *_CHILD)


def _kill(args: tuple[Any, ...]) -> Act | None:
    """Of other processes, a test may end what it has started."""
    if args[0] not in (0, -1, os.getpid()):
        return None
    return Act(f"os.kill({args[0]}, {args[1]})", *_PROCESS)


def _telling(what: str, reasons: tuple[str, str]) -> Callable[[tuple[Any, ...]], Act]:
    return lambda args: Act(f"{what}({', '.join(map(_text, args[:1]))})", *reasons)


_EVENTS: Final[dict[str, Callable[[tuple[Any, ...]], Act | None]]] = {
    "os.chdir": _chdir,
    "os.putenv": _putenv,
    "os.unsetenv": _unsetenv,
    "subprocess.Popen": _popen,
    "os.posix_spawn": _posix_spawn,
    "os.kill": _kill,
    "os.system": _telling("os.system", _CHILD),
    "os.spawn": _telling("os.spawn", _CHILD),
    "os.exec": _telling("os.exec", _FORK),
    "os.fork": _telling("os.fork", _FORK),
    "os.forkpty": _telling("os.forkpty", _FORK),
    "resource.setrlimit": _telling("resource.setrlimit", _PROCESS),
}


def _text(value: object) -> str:
    """As it would be written, if it can be."""
    text = repr(value.decode(errors="replace") if isinstance(value, bytes) else value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


_LONG: Final = 80


def _caller() -> FrameType | None:
    """The frame in which the event was raised: above are this function, an entry of ``_EVENTS``
    and the hook."""
    frame = inspect.currentframe()
    for _ in range(3):
        frame = frame and frame.f_back
    return frame


def _add_hook() -> None:
    if not _state.is_hooked:
        sys.addaudithook(_hook)
        _state.is_hooked = True


def _hook(
    event: str,
    args: tuple[Any, ...],
    *,
    events: dict[str, Callable[[tuple[Any, ...]], Act | None]] = _EVENTS,
    state: _State = _state,
) -> None:
    """Bound to what it needs: it is called to the end of the process, when modules are empty."""
    __tracebackhide__ = True
    if event in events and state.guard is not None and owner() is not None:
        act = events[event](args)
        if act is not None:
            state.guard.consider(act)


# What Python does not tell of.

_FUNCTIONS: Final = {
    "os": "umask",
    "random": "seed setstate",
    "numpy.random": "seed set_state",
    "socket": "setdefaulttimeout",
    "gc": "disable set_threshold",
    "sys": "setrecursionlimit setswitchinterval",
    "signal": "alarm setitimer",  # on a thread Python itself refuses signal.signal; trio asks so
    "logging": "disable",
    "importlib": "reload",
    "tracemalloc": "start stop",
}

Finding = Callable[..., Act | None]
"""Says of the arguments of a call what it would do to the process."""


def _replaced() -> Iterator[tuple[Any, str, Finding]]:
    """Module or class, name, and what the call would do. Of what has been imported: where a test
    imports another of these modules, ``worker.aside`` has seen it."""
    for module, names in _FUNCTIONS.items():
        for name in names.split() if module in sys.modules else ():
            yield sys.modules[module], name, _calling(f"{module}.{name}")
    if hasattr(time, "tzset"):
        yield time, "tzset", _tzset
    if "locale" in sys.modules:
        yield sys.modules["locale"], "setlocale", _setlocale
    for name in ("setattr", "delattr"):
        yield pytest.MonkeyPatch, name, _of_attribute
    for name in ("setitem", "delitem"):
        yield pytest.MonkeyPatch, name, _of_item
    yield pytest.MonkeyPatch, "syspath_prepend", _calling("monkeypatch.syspath_prepend")
    for name in ("set_level", "at_level"):
        yield pytest.LogCaptureFixture, name, _calling(f"caplog.{name}")
    if "multiprocessing.process" in sys.modules:
        yield sys.modules["multiprocessing.process"].BaseProcess, "start", _start
    for patcher, name in patchers.patchers():
        yield patcher, name, _of_patcher


def _calling(name: str) -> Finding:
    return lambda *_args, **_more: Act(f"{name}()", *_PROCESS)


def _tzset() -> Act | None:
    """``datetime.strptime``, when it is called first, only asks for the time zone anew."""
    here = inspect.currentframe()
    caller = here and here.f_back and here.f_back.f_back
    if caller is not None and caller.f_globals.get("__name__") == "_strptime":
        return None
    return Act("time.tzset()", *_PROCESS)


def _setlocale(category: int, locale: object = None) -> Act | None:
    """Without a locale it only asks."""
    return None if locale is None else Act(f"locale.setlocale({category}, {locale!r})", *_PROCESS)


def _start(process: Any) -> Act:
    return Act(f"start of {process.name}", *_FORK)


def _of_attribute(
    _patch: object, target: object, name: object = "", *_value: object, **_raising: object
) -> Act | None:
    if isinstance(target, str):  # the whole path: name is the value
        return Act(f"monkeypatch of {target!r}", *_REPLACEMENT)
    return _replacing("monkeypatch", target, str(name))


def _of_item(
    _patch: object, mapping: object, name: object, *_value: object, **_raising: object
) -> Act | None:
    if mapping is os.environ:
        return Act(f"monkeypatch of os.environ[{_text(name)}]", *_ENVIRONMENT)
    return _replacing("monkeypatch", mapping, str(name))


def _of_patcher(patcher: Any) -> Act | None:
    target, name = patchers.target_of(patcher)
    if target is os.environ or target == "os.environ":
        return Act("mock.patch of os.environ", *_ENVIRONMENT)
    if isinstance(target, str):
        return Act(f"mock.patch of {target!r}", *_REPLACEMENT)
    return _replacing("mock.patch", target, name)


def _replacing(who: str, target: object, name: str) -> Act | None:
    """Of an object that is no module or class nobody else need know; nor of a class inside of a
    function."""
    if target is sys.modules:
        return Act(f"{who} of sys.modules[{name!r}]", *_REPLACEMENT)
    is_class = isinstance(target, type) and "<locals>" not in target.__qualname__
    if not is_class and not isinstance(target, ModuleType):
        return None
    return Act(f"{who} of {getattr(target, '__name__', target)}.{name}", *_REPLACEMENT)


@contextmanager
def _watched(guard: Guard, holder: Any, name: str, finding: Finding) -> Iterator[None]:
    original = vars(holder)[name]

    @functools.wraps(original)
    def watching(*args: Any, **more: Any) -> Any:
        __tracebackhide__ = True
        if owner() is not None:
            act = finding(*args, **more)
            if act is not None:
                guard.consider(act)
        return original(*args, **more)

    setattr(holder, name, watching)
    try:
        yield
    finally:
        setattr(holder, name, original)
