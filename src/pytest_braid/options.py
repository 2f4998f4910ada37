"""From pytest's options to a frozen ``Settings``: defaults, limits, and when not to run at all."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_braid.model.limits import Limit, seconds_of

_LOOKS_ONLY = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "markers",
    "cacheshow",
    "setuponly",
    "setupshow",
    "setupplan",
    "help",
)
"""Options (by dest) with which pytest prints something and runs nothing, or prints while it runs:
nothing would be gained by workers, and what they print would be lost."""


_ORDERS = ("failedfirst", "newfirst")
"""Options (by dest) with which tests come in an order that the user wants."""

_STEPWISE = ("stepwise", "stepwise_skip", "stepwise_reset")
"""Options (by dest) that stop at the first failure; the last two imply the first, but later."""


class Settings(NamedTuple):
    """One run's settings. No ``Struct``: this is imported before the fork, ``msgspec`` behind it.

    ``workers`` counts slots. ``max_restarts`` and ``max_tests`` (of one worker) are ``None`` for
    any number; ``reorder``, ``max_chunk`` and ``is_cautious`` are as in ``SchedulerSettings``.
    ``live`` says that output of tests is not captured (``-s``) and goes where that of the
    controller goes.
    """

    workers: int
    mode: str
    max_restarts: int | None
    reorder: bool
    max_chunk: int | None
    is_cautious: bool
    max_tests: int | None
    testrun_uid: str
    log: Path | None
    live: bool
    start_method: str
    note: str | None = None
    """Why the number of workers is not what one might expect, for the header."""
    limit: Limit | None = None
    """How long each test may take that has no limit of its own."""
    resources: tuple[tuple[str, int], ...] = ()
    """Of resources: how many there are (``braid_resources``)."""
    is_mp: bool = False
    """Whether groups are kept apart as pytest-mp does (``--mp``)."""
    explain: str | None = None
    """Which tests are to be explained: their node id or the beginning of it; all, if empty."""
    timeline: tuple[Path, ...] = ()
    """Files that are to show the run; their endings say how."""
    progress: str = "auto"
    """Whether to show how far the run is: ``auto``, ``on``, ``off``."""
    threads: int = 0
    """How many tests a worker runs at once, each in a thread; 0: one at a time, in its main one."""
    tasks: int = 0
    """How many async tests it runs at once, as tasks; 0: they run as any other test does."""
    most_workers: int | None = None
    """How many there may be while tests wait (``-n adaptive``)."""
    cores: int = 1
    """How many of them the run may use."""
    faster: tuple[tuple[str, int], ...] = ()
    """What to try where tests wait, and how many run at once then."""
    history: str = "on"
    """Whether to learn from earlier runs, and from this one: ``on``, ``read``, ``off``."""
    keeps_order: bool = False
    """Whether the user has asked for an order of the tests."""

    def for_workers(self) -> dict[str, Any]:
        """What is in ``workerinput`` beyond what a worker of pytest-xdist has there: how many tests
        it runs at once, in ``threads`` and as ``tasks``, and how long these may take."""
        told: dict[str, Any] = {"threads": self.threads, "tasks": self.tasks}
        if self.tasks and self.limit is not None:
            told["timeout"] = tuple(self.limit)
        return {name: value for name, value in told.items() if value}


def settings_of(config: pytest.Config) -> Settings | None:
    """The settings of this run, or ``None`` if it is to run in this process.

    Raises:
        pytest.UsageError: options that exclude each other.
    """
    option = config.option
    is_mp, processes = mp_of(config)
    if is_mp:
        _refuse_beside_mp(option)
        option.numprocesses = processes
    is_automatic = option.numprocesses in ("auto", "logical")
    is_adaptive = option.numprocesses == ADAPTIVE
    workers = _workers(config)
    most_workers = _most_workers(option, workers) if is_adaptive else None
    if workers == 0:
        option.threads, option.tasks = (0, 0) if is_watched(option) else at_once(config)
        option.numprocesses, option.dist, option.tx, option.distload = 0, "no", [], False
        return None
    if is_watched(option):
        option.threads = option.tasks = 0
        return None
    note = None
    threads, tasks = (0, 0) if is_mp else at_once(config)
    if is_mp:
        note = f"--mp: tests or groups of them in processes of their own, {workers} at a time"
    elif option.numprocesses is None and not option.tx:
        note = _note_of_one_worker(option.forked, threads, tasks)
    elif any(getattr(option, name, False) for name in _STEPWISE) and workers > 1:
        workers, note = 1, "--stepwise stops at the first failure in order: one worker"
        most_workers = None
    if any(getattr(option, name, False) for name in _STEPWISE) and threads + tasks > 1:
        threads = tasks = 0
        note = "--stepwise stops at the first failure in order: one test at a time"
    if threads == 1 and not tasks:
        threads = 0  # nothing would run beside a test: the worker's main thread does as well
    if option.distload or option.dist == "no":
        option.dist = "load"
    option.numprocesses, option.tx = workers, ["popen"] * workers
    option.distload = option.dist == "load"
    restarts = _restarts(option.maxworkerrestart)
    return Settings(
        workers=workers,
        mode=option.dist,
        max_restarts=4 * workers if restarts is None else restarts,
        reorder=option.loadscopereorder,
        max_chunk=option.maxschedchunk or (1 if option.maxfail == 1 else None),
        is_cautious=option.maxfail == 1,
        max_tests=1 if option.forked and not is_mp else option.maxtestsperworker,
        testrun_uid=option.testrunuid or os.urandom(16).hex(),
        log=Path(option.braid_log) if option.braid_log else None,
        live=getattr(option, "capture", "no") in ("no", "tee-sys"),
        start_method=option.start_method if hasattr(os, "fork") else "spawn",
        note=note,
        limit=limit_of(config),
        resources=resources_of(config),
        is_mp=is_mp,
        explain=option.braid_explain,
        timeline=tuple(map(Path, option.braid_timeline)),
        progress=choice_of(config, "braid_progress", PROGRESS),
        threads=threads,
        tasks=tasks,
        most_workers=most_workers,
        cores=cores(logical=True),
        faster=()
        if threads or tasks or is_adaptive or not is_automatic
        else _faster(option, workers),
        history=choice_of(config, "braid_history", HISTORY),
        keeps_order=any(getattr(option, name, False) for name in _ORDERS),
    )


HISTORY = ("on", "read", "off")

PROGRESS = ("auto", "on", "off")


def choice_of(config: pytest.Config, key: str, choices: tuple[str, ...]) -> str:
    """The value of the option that has the name of an ini key, or of that key, or the first choice.

    Raises:
        pytest.UsageError: the ini key has another value.
    """
    given = getattr(config.option, key) or config.getini(key) or choices[0]
    if given not in choices:
        raise pytest.UsageError(
            f"the ini option {key}: {given!r} is not one of {', '.join(choices)}"
        )
    return str(given)


def _note_of_one_worker(is_forked: bool, threads: int, tasks: int) -> str:
    if is_forked:
        return "--forked: every test in a process of its own, one at a time (-n N: N at a time)"
    if tasks:
        beside = f" beside {threads} in threads" if threads else ""
        return f"--tasks: one worker, {tasks} async tests at once{beside} (-n N: N workers)"
    if threads:
        at_once = f"{threads} tests at once" if threads > 1 else "one test at a time"
        return f"--threads: one worker, {at_once} (-n N: N workers)"
    return "--test-timeout: one worker, which is ended when its test hangs (-n N: N workers)"


def threads_of(config: pytest.Config) -> int:
    """How many tests a worker is to run at once: ``--threads``, the ini key ``braid_threads``.

    Raises:
        pytest.UsageError: the ini key has another value.
    """
    return _strands_of(config, "threads", threads_value)


def tasks_of(config: pytest.Config) -> int:
    """How many async tests a worker is to run at once: ``--tasks``, the ini key ``braid_tasks``.

    Raises:
        pytest.UsageError: the ini key has another value.
    """
    return _strands_of(config, "tasks", tasks_value)


def _strands_of(config: pytest.Config, kind: str, value: Callable[[str], int]) -> int:
    given = getattr(config.option, kind)
    if given is not None:
        return int(given)
    text = config.getini(f"braid_{kind}")
    try:
        return value(text) if text else 0
    except ValueError as error:
        raise pytest.UsageError(f"the ini option braid_{kind}: {error}") from None


def at_once(config: pytest.Config) -> tuple[int, int]:
    """How many tests a worker is to run at once: in threads, and as tasks.

    Raises:
        pytest.UsageError: an ini key has a value of another kind.
    """
    return threads_of(config), tasks_of(config)


MOST_TASKS = 1000


def tasks_value(text: str) -> int:
    """A number of tasks.

    Raises:
        ValueError: it is none.
    """
    if text.strip().isdecimal() and int(text) <= MOST_TASKS:
        return int(text)
    raise ValueError(
        f"{text!r} is not a number of tasks: give a number up to {MOST_TASKS}; 0 runs async tests "
        "as without the option. Where it is left out and a path follows, write --tasks=100"
    )


MOST_THREADS = 1000


def threads_value(text: str) -> int:
    """``auto`` is as many as Python's own ``ThreadPoolExecutor`` has: for waiting, not for work.

    Raises:
        ValueError: it is no number of threads.
    """
    if text.strip() == "auto":
        return min(32, cores(logical=True) + 4)
    if text.strip().isdecimal() and int(text) <= MOST_THREADS:
        return int(text)
    raise ValueError(
        f"{text!r} is not a number of threads: give 'auto' or a number up to {MOST_THREADS}; 0 runs"
        " one test at a time"
    )


def mp_of(config: pytest.Config) -> tuple[bool, int]:
    """Whether ``--mp`` or its ini key is given, and how many processes there are then.

    Raises:
        pytest.UsageError: their number is no number.
    """
    option = config.option
    if not (option.use_mp or config.getini("mp")):
        return False, 0
    if option.num_processes is not None:
        return True, option.num_processes
    text = str(config.getini("num_processes") or "")
    if not text:
        return True, cores(logical=True)
    if not text.isdecimal():
        raise pytest.UsageError(
            f"--num-processes must be an integer. The ini option num_processes says {text!r}: give "
            "a number, 0 to run everything in this process, or leave it out for one per CPU"
        )
    return True, int(text)


def _refuse_beside_mp(option: Any) -> None:
    beside = {
        "-n": option.numprocesses is not None,
        "--tx": bool(option.tx),
        "--dist": option.distload or option.dist != "no",
        "--threads": bool(getattr(option, "threads", None)),
        "--tasks": bool(getattr(option, "tasks", None)),
    }
    for name in (name for name, is_given in beside.items() if is_given):
        raise pytest.UsageError(
            f"--mp (or the ini option mp) cannot be combined with {name}: it decides itself which "
            "test runs in which process. --np says how many processes there are at a time; without "
            "--mp, groups keep tests together with -n and --dist loadgroup"
        )


def resources_of(config: pytest.Config) -> tuple[tuple[str, int], ...]:
    """The limits that the ini option ``braid_resources`` sets.

    Raises:
        pytest.UsageError: it holds something else.
    """
    limits: dict[str, int] = {}
    for word in config.getini("braid_resources"):
        name, _, count = word.rpartition(":")
        if not name or not count.isdecimal() or not int(count):
            raise pytest.UsageError(
                f"the ini option braid_resources: {word!r} is not a name and a number of 1 or "
                "more: write it as in 'db:4 gpu:1'"
            )
        limits[name] = int(count)
    return tuple(limits.items())


def _restarts(given: str | int | None) -> int | None:
    """A text, where pytest-xdist's own option was there first."""
    if given is None or str(given).isdecimal():
        return None if given is None else int(given)
    raise pytest.UsageError(f"--max-worker-restart: {given!r} is not a whole number of 0 or more")


_TIMEOUT_VARIABLE = "PYTEST_XDIST_WORKER_TIMEOUT"


def limit_of(config: pytest.Config) -> Limit | None:
    """How long a test may take: ``--test-timeout``, the environment's variable, the ini key.

    Raises:
        pytest.UsageError: the one that counts is not a number of seconds.
    """
    if config.option.testtimeout is not None:
        return Limit(config.option.testtimeout, "--test-timeout")
    for text, source in (
        (os.environ.get(_TIMEOUT_VARIABLE), f"the environment variable {_TIMEOUT_VARIABLE}"),
        (config.getini("test_timeout"), "the ini option test_timeout"),
    ):
        if text:
            seconds = seconds_of(text)
            if not seconds:
                raise pytest.UsageError(
                    f"{source}: {text!r} is not a number of seconds above 0; leave it empty for no "
                    "limit"
                )
            return Limit(seconds, source)
    return None


def _is_looked_at(option: object) -> bool:
    return (
        any(getattr(option, name, False) for name in _LOOKS_ONLY)
        or (getattr(option, "version", 0) or 0) > 0
    )


def _is_debugged() -> bool:
    """Whether a debugger traces this process. Coverage traces too and is no debugger."""
    if "debugpy" in sys.modules and sys.modules["debugpy"].is_client_connected():
        return True
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        return True
    tracer = sys.gettrace()
    owner = getattr(tracer, "__self__", tracer)
    return tracer is not None and not type(owner).__module__.startswith("coverage")


def _workers(config: pytest.Config) -> int:
    option = config.option
    asked = option.numprocesses
    if asked is None and option.tx:
        asked = sum(map(_workers_of_spec, option.tx))
    if _is_debugging(option):
        if isinstance(asked, int) and asked > 0:
            raise pytest.UsageError(
                "--pdb is incompatible with distributing tests; try using -n0 or -nauto."
            )
        return 0
    if asked is None:
        return 1  # --forked, --test-timeout, --threads or --tasks alone
    if asked == ADAPTIVE:
        option.numprocesses = "auto"  # as pytest_xdist_auto_num_workers knows it
    count = asked if isinstance(asked, int) else _automatic(config)
    if option.maxprocesses:
        count = min(count, option.maxprocesses)
    return int(count)


ADAPTIVE = "adaptive"

_PER_CORE = 8
"""Workers for each core with ``-n adaptive``, if ``--maxprocesses`` does not say how many."""


def _most_workers(option: Any, workers: int) -> int | None:
    """With ``--dist each`` there are as many workers as copies of the tests."""
    if option.dist == "each":
        return None
    most = option.maxprocesses or _PER_CORE * cores(logical=True)
    return int(max(most, workers))


def _faster(option: Any, workers: int) -> tuple[tuple[str, int], ...]:
    """Of a run with ``-n auto``. Spawned workers are not added while tests run."""
    most = _most_workers(option, workers)
    is_forked = hasattr(os, "fork") and option.start_method != "spawn"
    adaptive = [("-n adaptive", most)] if most and is_forked and not option.maxprocesses else []
    return (*adaptive, ("--threads auto", workers * threads_value("auto")))


def planned_workers(option: Any) -> int:
    """How many there will be, as far as the command line says so."""
    asked = option.numprocesses
    if isinstance(asked, str):
        text = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")
        asked = int(text) if text.isdecimal() else cores(logical=asked == "logical")
    elif asked is None:
        asked = sum(map(_workers_of_spec, option.tx)) if option.tx else 1
    return min(asked, option.maxprocesses) if option.maxprocesses else int(asked)


def is_watched(option: object) -> bool:
    """Whether somebody looks at this very process."""
    return _is_looked_at(option) or _is_debugged() or _is_debugging(option)


def _is_debugging(option: object) -> bool:
    return getattr(option, "usepdb", False) or getattr(option, "trace", False)


def _workers_of_spec(spec: str) -> int:
    """How many workers a value of ``--tx`` stands for: ``popen``, or ``3*popen``."""
    return int(spec.removesuffix("popen").removesuffix("*") or 1)


def _automatic(config: pytest.Config) -> int:
    """``auto`` and ``logical``: a plugin's answer, the environment's, or the machine's."""
    answer = config.hook.pytest_xdist_auto_num_workers(config=config)
    if answer is not None:
        return int(answer)
    text = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    if text:
        if text.isdecimal():
            return int(text)
        warnings.warn(
            f"PYTEST_XDIST_AUTO_NUM_WORKERS is not a number: {text!r}. Ignoring it.",
            pytest.PytestWarning,
            stacklevel=2,
        )
    return cores(logical=config.option.numprocesses == "logical")


def cores(*, logical: bool) -> int:
    """How many cores this process may keep busy, at least 1: the smallest of the machine's cores,
    the CPU affinity, the cgroup's quota rounded up, and ``PYTHON_CPU_COUNT``."""
    known: list[int | float | None] = [
        os.cpu_count() if logical or _is_each_cpu_a_core() else _physical_cores(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        _cgroup_quota(Path("/sys/fs/cgroup")),
        _python_cpu_count(),
    ]
    return max(1, *(math.ceil(min(n for n in known if n)),))


def _is_each_cpu_a_core() -> bool:
    """Whether the kernel says that no core is two CPUs at once (Linux); ``psutil`` would have to
    be imported, and to read as many files as there are CPUs."""
    try:
        return Path("/sys/devices/system/cpu/smt/active").read_bytes().strip() == b"0"
    except OSError:
        return False


def _physical_cores() -> int | None:
    import psutil

    return psutil.cpu_count(logical=False) or os.cpu_count()


def _python_cpu_count() -> int | None:
    """``-X cpu_count`` (Python 3.13) goes by the environment variable's name in older ones too."""
    text = str(sys._xoptions.get("cpu_count") or os.environ.get("PYTHON_CPU_COUNT", ""))  # noqa: SLF001
    return int(text) if text.isdecimal() else None


def _cgroup_quota(root: Path) -> float | None:
    """CPUs that the control group may use, from ``cpu.max`` (version 2) or the CFS files (1)."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        except OSError:
            return None
    if quota.strip() == "max" or float(quota) <= 0:
        return None
    return float(quota) / float(period)
