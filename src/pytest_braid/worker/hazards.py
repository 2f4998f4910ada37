"""What changes the state of a whole process: the tables behind the list in docs/threads.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Final

from pytest_braid.worker.findings import UNKNOWN, Unloaded

_FUNCTIONS: Final = {
    "os": "chdir fchdir chroot putenv unsetenv umask fork forkpty system popen startfile abort "
    "_exit kill killpg dup2 nice setpriority sched_setaffinity setuid setgid seteuid setegid "
    "setpgid setsid posix_spawn posix_spawnp execl execle execlp execlpe execv execve execvp "
    "execvpe spawnl spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe",
    "contextlib": "chdir",
    "pty": "fork spawn",
    "runpy": "run_module run_path",
    "site": "addsitedir",
    "concurrent.futures": "ProcessPoolExecutor",
    "signal": "signal alarm setitimer set_wakeup_fd siginterrupt pthread_sigmask pthread_kill "
    "raise_signal sigwait sigtimedwait sigwaitinfo",
    "sys": "settrace setprofile setrecursionlimit setswitchinterval setdlopenflags addaudithook "
    "set_int_max_str_digits",
    "threading": "active_count enumerate main_thread settrace setprofile settrace_all_threads "
    "setprofile_all_threads stack_size",
    "random": "seed setstate",
    "numpy.random": "seed set_state",
    "torch": "manual_seed set_default_dtype set_default_device set_num_threads",
    "locale": "setlocale",
    "time": "tzset",
    "socket": "setdefaulttimeout",
    "gc": "disable enable freeze unfreeze set_debug set_threshold get_objects",
    "resource": "setrlimit",
    "faulthandler": "enable disable register unregister dump_traceback_later _sigsegv _sigabrt "
    "_sigfpe _stack_overflow _fatal_error",
    "tracemalloc": "start stop clear_traces take_snapshot get_traced_memory reset_peak",
    "logging": "disable basicConfig captureWarnings setLoggerClass setLogRecordFactory "
    "addLevelName shutdown",
    "logging.config": "dictConfig fileConfig listen",
    "importlib": "reload",
    "asyncio": "set_event_loop_policy get_event_loop set_child_watcher",
    "unittest.mock": "patch",
    "mock": "patch",
    "click.testing": "CliRunner",
    "typer.testing": "CliRunner",
    "pytest": "MonkeyPatch Pytester main set_trace",
    "pdb": "set_trace",
    "builtins": "breakpoint",
}
"""By module, the functions and classes that only a test on its own may use."""

_DESCRIPTORS: Final = {"os": "write close"}
"""The same, of descriptors 1 and 2."""

_CONTAINERS: Final = {
    "os": "environ environb",
    "sys": "path modules argv meta_path path_hooks path_importer_cache warnoptions",
}
"""By module, what only a test on its own may put something into, or take something out of."""

_PACKAGES: Final = (
    "multiprocessing",
    "sys.monitoring",
    "freezegun",
    "time_machine",
    "responses",
    "httpretty",
    "requests_mock",
    "respx",
    "moto",
    "vcr",
    "pyfakefs",
)
"""Modules that start processes, or replace something in the process, by all that they offer."""

_HARMLESS: Final = frozenset({"multiprocessing.cpu_count", "multiprocessing.current_process"})

CHILDREN: Final = {
    "subprocess.run": frozenset({"stdout", "stderr"}),
    "subprocess.call": frozenset({"stdout", "stderr"}),
    "subprocess.check_call": frozenset({"stdout", "stderr"}),
    "subprocess.Popen": frozenset({"stdout", "stderr"}),
    "subprocess.check_output": frozenset({"stderr"}),
    "asyncio.create_subprocess_exec": frozenset({"stdout", "stderr"}),
    "asyncio.create_subprocess_shell": frozenset({"stdout", "stderr"}),
}
"""What starts a process, and the arguments without which it inherits our output."""

METHODS: Final = {
    "logging.Logger": "setLevel addHandler removeHandler addFilter removeFilter",
    "_pytest.logging.LogCaptureFixture": "set_level at_level",
}
"""By class, the methods that only a test on its own may call."""

CHANGING: Final = frozenset(
    {"append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse", "update"}
    | {"setdefault", "popitem", "__setitem__", "__delitem__"}
)
"""Methods that change a list or a mapping."""

ISOLATED: Final = frozenset(
    {"sys.stdout", "sys.stderr", "sys.stdin", "sys.last_type", "sys.last_value", "sys.last_exc"}
    | {"sys.last_traceback", "sys.unraisablehook", "warnings.showwarning"}
)
"""Attributes of modules that each test on a thread has for itself (``capture.isolation``)."""

FIXTURES: Final = {
    "_pytest.monkeypatch": "monkeypatch",
    "_pytest.capture": "capfd capfdbinary",
    "_pytest.pytester": "pytester",
    "pytest_django": "_django_db_helper settings mailoutbox live_server",
    "pytest_socket": "socket_disabled socket_enabled",
    "pytest_benchmark": "benchmark benchmark_weave",
    "pytest_mock": "",
    "pytest_subprocess": "",
    "pytest_freezer": "",
    "pytest_freezegun": "",
    "time_machine": "",
    "requests_mock": "",
    "pytest_httpx": "",
    "pytest_responses": "",
    "respx": "",
    "pyfakefs": "",
    "pytest_vcr": "",
    "pytest_recording": "",
    "aioresponses": "",
}
"""By module, the fixtures that only a test on its own may use; no names: all of them."""

CASES: Final = {
    "django.test": "Django's test cases share one database connection and one mailbox",
    "twisted.trial": "pytest patches a class of twisted while such a test runs",
}
"""Base classes by their module, and why their tests run on their own."""


class Hazards:
    """Knows a function or a container that affects the whole process, however it was imported."""

    def __init__(self, more: Iterable[str]) -> None:
        """``more``: ``module.function`` or ``module.*``, as in the ini option."""
        given = [name.strip() for name in more]
        self._packages = (*_PACKAGES, *(name[:-2] for name in given if name.endswith(".*")))
        self._first = {name.partition(".")[0] for name in self._packages}
        self._names = {*_dotted(_FUNCTIONS), *(name for name in given if name[-2:] != ".*")}
        self._functions = _by_identity(self._names)
        self._children = _by_identity(CHILDREN)
        self._descriptors = _by_identity(_dotted(_DESCRIPTORS))
        self._containers = _by_identity(_dotted(_CONTAINERS))

    def function(self, value: object) -> str | None:
        """The name of what must not be used beside other tests."""
        if type(value) is Unloaded:
            return value.name if value.name in self._names else self.package(value.name)
        if id(value) in self._functions:
            return self._functions[id(value)][0]
        if issubclass(type(value), FunctionType | type):
            return self.package(f"{value.__module__}.{value.__qualname__}")  # type: ignore[attr-defined]
        return None

    def child(self, value: object) -> str | None:
        """The name of what starts a process."""
        if type(value) is Unloaded:
            return value.name if value.name in CHILDREN else None
        return self._children.get(id(value), _NOBODY)[0]

    def descriptor(self, value: object) -> str | None:
        """The name of what must not be used with the descriptors of the process's output."""
        return self._descriptors.get(id(value), _NOBODY)[0]

    def container(self, value: object) -> str | None:
        """The name of a list or mapping that the whole process goes by."""
        return self._containers.get(id(value), _NOBODY)[0]

    def package(self, name: str) -> str | None:
        """The same, if it is one of a module whose offers all are of that kind."""
        if name.partition(".")[0] not in self._first or name in _HARMLESS:
            return None
        return name if is_below(name, self._packages) else None


_NOBODY: Final = (None, None)


def is_below(name: str, modules: Iterable[str]) -> bool:
    """Whether a dotted name is, or is found in, one of these modules."""
    return any(name == each or name.startswith(each + ".") for each in modules)


def _dotted(table: dict[str, str]) -> Iterator[str]:
    return (f"{module}.{name}" for module, names in table.items() for name in names.split())


def _by_identity(names: Iterable[str]) -> dict[int, tuple[str, object]]:
    """Names and the objects themselves, which are kept, by their ids; those, too, that something
    has been wrapped around meanwhile (by ``worker.guard``)."""
    found = ((name, _resolve(name)) for name in names)
    return {
        id(each): (name, each)
        for name, value in found
        for each in (value, getattr(value, "__wrapped__", value))
        if each is not UNKNOWN
    }


def _resolve(name: str) -> object:
    """What stands under a dotted name, if its module has been imported."""
    module, _, attribute = name.rpartition(".")
    holder = sys.modules.get(module)
    return vars(holder).get(attribute, UNKNOWN) if isinstance(holder, ModuleType) else UNKNOWN
