"""The entry point: what pytest loads in every run, with or without braid's options.

It registers options and hooks and, if nothing of ours is asked for, does nothing else and imports
nothing else. It is also the composition root, the one module that knows all the others.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder


def _identities(*descriptors: int) -> Iterator[tuple[int, int]]:
    for descriptor in descriptors:
        try:
            facts = os.fstat(descriptor)
        except OSError:
            continue
        yield facts.st_dev, facts.st_ino


_OUTPUTS = frozenset(_identities(1, 2))
"""Standard output and error (device, inode), found before pytest captures them."""


class Option(NamedTuple):
    """One row of the option table; ``names`` and ``how`` as in ``argparse``."""

    names: tuple[str, ...]
    help: str
    how: dict[str, Any]


def workers_value(text: str) -> int | Literal["auto", "logical", "adaptive"]:
    """The value of ``-n``: a number of workers, ``auto``, ``logical`` or ``adaptive``."""
    import argparse

    if text in ("auto", "logical", "adaptive"):
        return text  # type: ignore[return-value]
    if text.strip().isdecimal():  # a shell may leave the blank of "-n 2" in
        return int(text)
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a number of workers: give 'auto' (a worker per core), 'logical' (one "
        "per logical CPU), 'adaptive' (more while tests wait), or a number; 0 runs everything in "
        "this process"
    )


def threads_value(text: str) -> int:
    """The value of ``--threads``: a number of threads, or ``auto``."""
    import argparse

    from pytest_braid.options import threads_value

    try:
        return threads_value(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def tasks_value(text: str) -> int:
    """The value of ``--tasks``: a number of tasks."""
    import argparse

    from pytest_braid.options import tasks_value

    try:
        return tasks_value(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds_value(text: str) -> float:
    """A number of seconds, zero excluded."""
    import argparse

    from pytest_braid.model.limits import seconds_of

    seconds = seconds_of(text)
    if seconds:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def count_value(text: str) -> int:
    """A whole number, zero included."""
    import argparse

    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")


def positive_value(text: str) -> int:
    """A whole number, zero excluded."""
    import argparse

    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")


def processes_value(text: str) -> int:
    """The value of ``--np``; its words are pytest-mp's."""
    import argparse

    if text.strip().isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError("--num-processes must be an integer.")


NOT_LOCAL = "workers run on this machine: log in to the other one and run pytest -n N there"
NO_SPECS = {
    "ssh": NOT_LOCAL,
    "socket": NOT_LOCAL,
    "python": "workers are forked from this process and have its interpreter: run pytest itself "
    "with the other one, as in 'python3.13 -m pytest -n N'",
    "chdir": "workers begin in the directory of this process: change to the other one before",
    "env": "workers inherit the environment of this process: set the variable there, as in "
    "'NAME=value pytest -n N'",
}
"""What to use instead of execnet's specifications of an environment, by their keys."""


def spec_value(text: str) -> str:
    """A value of ``--tx``: ``popen``, or ``N*popen`` for N of them."""
    import argparse

    fault = spec_fault(text)
    if fault is None:
        return text
    raise argparse.ArgumentTypeError(fault)


def spec_fault(text: str) -> str | None:
    """What is wrong with a value of ``--tx``, if anything is."""
    number, star, spec = text.rpartition("*")
    if spec == "popen" and (not star or (number.isdecimal() and int(number))):
        return None
    keys = [part.partition("=")[0].partition(":")[0] for part in spec.split("//")]
    why = next((NO_SPECS[key] for key in keys if key in NO_SPECS), None)
    return f"{text!r} is not possible: " + (
        why or "give 'popen' for a worker, 'N*popen' for N of them"
    )


def timeline_value(text: str) -> str:
    """A value of ``--braid-timeline``: its ending says what it is to be."""
    import argparse

    if text.endswith((".html", ".json")):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} ends neither in .html, a page that any browser shows, nor in .json, a trace for "
        "Perfetto (ui.perfetto.dev) or chrome://tracing"
    )


def start_method_value(text: str) -> str:
    """The value of ``--start-method``."""
    import argparse

    if text in ("auto", "fork", "spawn"):
        return text
    if text == "forkserver":
        raise argparse.ArgumentTypeError(
            "'forkserver' is not needed: workers are forked from a process that has done nothing "
            "but collect the tests ('fork', which 'auto' chooses where it can)"
        )
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a start method: give 'auto', 'fork' or 'spawn'"
    )


MODES = ("each", "load", "loadscope", "loadfile", "loadgroup", "worksteal", "no")


_FORKED_MARK = "forked: run this test in a process of its own (pytest-braid: with -n or --forked)."

_TIMEOUT_MARK = (
    "timeout(seconds): fail this test if it takes longer, setup and teardown included; 0: no limit "
    "(pytest-braid: with -n or --test-timeout)."
)

_UNSAFE_MARKS = (
    "thread_unsafe(reason=None): never run this test on a thread beside others (pytest-braid).",
    "parallel_threads(n): with n = 1 the same as thread_unsafe (pytest-braid).",
    "parallel_threads_limit(n): with n = 1 the same as thread_unsafe (pytest-braid).",
    "force_parallel_threads(n): with n = 1 the same as thread_unsafe (pytest-braid).",
)
"""Marks of pytest-run-parallel; what it makes of other numbers is its own."""

_COOPERATIVE_MARKS = (
    (
        "asyncio_cooperative: this test runs as a task, at once with others that are marked so "
        "(pytest-asyncio-cooperative)."
    ),
    "flakey: with asyncio_cooperative, this test runs once more if it fails.",
    "decorated: with asyncio_cooperative, on a function that another wraps; needs no mark.",
)

_NEEDS_MARKS = (
    "alone: nothing else runs meanwhile, in any worker (pytest-braid).",
    (
        'resource_lock(name, mode="write", slots=1): tests that write the resource run one at a '
        "time (of one that the ini option braid_resources counts: as many as there are), and none "
        'beside those that read it, mode="read" (pytest-braid).'
    ),
    "cpus(n): this test counts as n of those that run at once (pytest-braid).",
    (
        "mp_group(group, strategy): with --mp, how the tests of this group run: 'free' (the "
        "default), 'serial', 'isolated_free', 'isolated_serial'; with --dist loadgroup, in one "
        "worker."
    ),
    "mp_group_info(group, strategy): what mp_group says, on every test (pytest-braid).",
)

FORKED = Option(
    ("--forked",),
    "Every test in a process of its own, forked from the one that has collected the tests; without "
    "-n one at a time. The mark 'forked' says it of one test.",
    {"action": "store_true", "default": False},
)

OPTIONS = (
    Option(
        ("-n", "--numprocesses"),
        "Number of worker processes, forked from one process that has collected the tests. "
        "'auto': as many as the cores this process may use; 'logical': logical CPUs; 'adaptive': "
        "as many as with auto, and more while tests wait and cores are idle; 0: none, everything "
        "runs in this process.",
        {"dest": "numprocesses", "metavar": "N", "type": workers_value},
    ),
    Option(
        ("--maxprocesses",),
        "At most this many workers, whatever -n says. Default with -n adaptive: eight per core.",
        {"metavar": "N", "type": count_value},
    ),
    Option(
        ("--max-worker-restart",),
        "At most this many crashed workers are replaced, then the run stops; 0: the first crash "
        "stops it. Default: four per worker.",
        {"dest": "maxworkerrestart", "metavar": "N", "type": count_value},
    ),
    Option(
        ("--max-tests-per-worker",),
        "A worker that has run this many tests is replaced by a fresh one: what they have left in "
        "its memory goes with it. Default: any number.",
        {"dest": "maxtestsperworker", "metavar": "N", "type": positive_value},
    ),
    FORKED,
    Option(
        ("--threads",),
        "Each worker runs up to this many tests at once, in threads. Tests that change what all "
        "threads share (the environment, patched modules, ...) step aside and run alone in their "
        "worker. Without -n one worker is used. 'auto': the cores and 4 more, at most 32. Default: "
        "the ini option braid_threads; without it, one test at a time.",
        {"metavar": "N", "type": threads_value},
    ),
    Option(
        ("--tasks",),
        "Each worker runs up to this many async tests at once, as tasks of one asyncio event loop, "
        "their async fixtures included. Those that change what all tasks share step aside, as with "
        "--threads; other tests run as they do without it. Without -n one worker is used. Without "
        "a number: 100. Default: the ini option braid_tasks; without it, no tasks.",
        {"metavar": "N", "type": tasks_value, "nargs": "?", "const": 100},
    ),
    Option(
        ("--test-timeout",),
        "A test that takes longer than this fails, with the stacks of all threads, and its worker "
        "is replaced; setup and teardown count. Without -n one worker is used. The mark "
        "'timeout(seconds)' says it of one test. Default: the environment variable "
        "PYTEST_XDIST_WORKER_TIMEOUT, then the ini option test_timeout; without either, no limit.",
        {"dest": "testtimeout", "metavar": "SECONDS", "type": seconds_value},
    ),
    Option(
        ("--dist",),
        "How tests are spread over the workers. 'load': in the order of collection, in slices that "
        "shrink towards the end; 'worksteal': one equal slice for each, and who is done takes half "
        "of another's; 'loadscope': the tests of a class, and the functions of a module, stay "
        "together; 'loadfile': those of a file do; 'loadgroup': those with the same mark "
        "xdist_group(name) do, all others as in load; 'each': every worker runs every test; 'no': "
        "as if not given. Default: load, if -n asks for workers.",
        {"metavar": "MODE", "choices": MODES, "default": "no"},
    ),
    Option(
        ("-d",),
        "The same as --dist load.",
        {"dest": "distload", "action": "store_true"},
    ),
    Option(
        ("--tx",),
        "Workers, if -n does not say how many and --dist or -d is given: 'popen' for one, "
        "'N*popen' for N; may be repeated.",
        {"metavar": "SPEC", "action": "append", "type": spec_value, "default": []},
    ),
    Option(
        ("--loadscope-reorder",),
        "Begin with the units that have the most tests, in 'loadscope', 'loadfile' and "
        "'loadgroup'. The default.",
        {"dest": "loadscopereorder", "action": "store_true", "default": True},
    ),
    Option(
        ("--no-loadscope-reorder",),
        "Begin the units in the order of collection.",
        {"dest": "loadscopereorder", "action": "store_false"},
    ),
    Option(
        ("--maxschedchunk",),
        "In 'load', hand out at most this many tests at once. Default: as many as make sense, "
        "with -x one.",
        {"metavar": "N", "type": positive_value},
    ),
    Option(
        ("--mp", "--multiprocessing"),
        "Every test in a process of its own, and groups of tests as their mark mp_group(name, "
        "strategy) says, as in pytest-mp. Not together with -n.",
        {"dest": "use_mp", "action": "store_true", "default": None},
    ),
    Option(
        ("--np", "--num-processes"),
        "With --mp: at most this many processes at a time; 0: none, everything runs in this "
        "process. Default: the ini option num_processes, then one for each CPU.",
        {"dest": "num_processes", "metavar": "N", "type": processes_value},
    ),
    Option(
        ("--max-asyncio-tasks",),
        "Tests with the mark asyncio_cooperative run as up to this many tasks at once, where "
        "--tasks does not say how many, as in pytest-asyncio-cooperative. Default: the ini option "
        "max_asyncio_tasks, then 100.",
        {"dest": "max_asyncio_tasks", "metavar": "N", "type": positive_value},
    ),
    Option(
        ("--asyncio-task-timeout",),
        "Such a test is cancelled, and fails, when it takes longer; waiting for a shared fixture "
        "or a lock does not count. Default: the ini option asyncio_task_timeout, then "
        "600.",
        {"dest": "asyncio_task_timeout", "metavar": "SECONDS", "type": positive_value},
    ),
    Option(
        ("--start-method",),
        "How workers come to be. 'fork': as copies of the one process that has collected the "
        "tests; 'spawn': each is an interpreter of its own that collects for itself; 'auto': "
        "forked, or spawned where they cannot be forked, and the run says why. Default: auto.",
        {
            "dest": "start_method",
            "metavar": "METHOD",
            "type": start_method_value,
            "default": "auto",
        },
    ),
    Option(
        ("--braid-history",),
        "What earlier runs have taught (in pytest's cache: how long tests took, what fixtures "
        "cost) decides what begins first and what stays together. 'on': use it and learn from it; "
        "'read': only use it; 'off': neither. Default: the ini option braid_history; without it, "
        "on.",
        {"dest": "braid_history", "metavar": "WHEN", "choices": ("on", "read", "off")},
    ),
    Option(
        ("--testrunuid",),
        "The identifier that all workers of this run share. Default: a random one.",
        {"metavar": "UID"},
    ),
    Option(
        ("--braid-explain",),
        "Say at the end where this test, or those whose node ids begin so or have it in them, ran, "
        "when and why there, what they waited for, how long, and because of which other tests. "
        "Without NODEID, of all that waited: put it last then, or write --braid-explain=.",
        {"dest": "braid_explain", "metavar": "NODEID", "nargs": "?", "const": ""},
    ),
    Option(
        ("--braid-log",),
        "Write what happens in the run to this file, one JSON object a line.",
        {"dest": "braid_log", "metavar": "PATH"},
    ),
    Option(
        ("--braid-timeline",),
        "Draw which test ran where and when, and what was waited for, into this file: FILE.html, a "
        "page that any browser shows, or FILE.json, a trace for Perfetto; may be repeated.",
        {
            "dest": "braid_timeline",
            "metavar": "FILE",
            "action": "append",
            "type": timeline_value,
            "default": [],
        },
    ),
    Option(
        ("--braid-progress",),
        "Show below the output how far the run is, what runs for how long, and what has failed. "
        "'auto': on a terminal, unless with -q or console_output_style = classic; elsewhere only "
        "a line when no test has ended for a minute; 'on': with -q, too, and elsewhere a line "
        "every 15 seconds; 'off': never. Default: the ini option braid_progress; without it, auto.",
        {"dest": "braid_progress", "metavar": "WHEN", "choices": ("auto", "on", "off")},
    ),
)


REFUSED = (
    Option(
        ("-f", "--looponfail"),
        "braid runs a suite once and does not watch its files. pytest-watcher does, and runs "
        "pytest again after each change: pip install pytest-watcher, then ptw . -n auto",
        {"dest": "looponfail", "action": "store_true"},
    ),
    *(
        Option(
            (name,),
            "workers run on this machine and read the files where they are, so there is nothing "
            "to copy: leave it out. For another machine, copy the project there, and run pytest "
            "-n N there",
            {"dest": name[2:], "metavar": "VALUE", "action": "append"},
        )
        for name in ("--rsyncdir", "--rsyncignore", "--px")
    ),
)
"""Options of pytest-xdist that are known only to say what to use instead."""

UNSAFE = {
    "thread_unsafe_fixtures": "Names of fixtures whose tests run on no thread beside others.",
    "thread_unsafe_functions": "Functions (module.name, or module.*) whose callers run on no "
    "thread beside others.",
}
"""Keys of pytest-run-parallel, with its meaning."""

UNUSED = ("rsyncdirs", "rsyncignore", "looponfailroots")
"""Keys of the ini file that a project may still have, and that mean nothing here."""


@pytest.hookimpl
def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    known: frozenset[str] = frozenset()
    if pluginmanager.hasplugin("xdist"):  # loaded before us: its -n is registered already
        known = frozenset(
            name for option in parser.getgroup("xdist").options for name in option.names()
        )
    pluginmanager.set_blocked("xdist")
    pluginmanager.unblock("xdist")
    pluginmanager.register(AsXdist(), "xdist")  # a -p xdist behind us finds the name taken
    pluginmanager.set_blocked("xdist.looponfail")
    if StandIns not in sys.meta_path:
        sys.meta_path.append(StandIns)
    _meet_requirement(pluginmanager)
    from argparse import SUPPRESS

    cooperative = _cooperative_options(pluginmanager)
    known = known | _COOPERATIVE_OPTIONS - cooperative
    group = parser.getgroup("braid", "parallel runs (pytest-braid)")
    for option in OPTIONS:
        if option is FORKED or known & {*option.names}:
            continue
        # pytest keeps lower-case short options to itself, and -n is the one that users know.
        group._addoption(*option.names, help=option.help, **option.how)  # noqa: SLF001
    for option in REFUSED:
        if not known & {*option.names}:
            group._addoption(*option.names, help=SUPPRESS, **option.how)  # noqa: SLF001
    parser.addini("mp", "Whether groups of tests run as in pytest-mp (--mp).", "bool", False)
    parser.addini("num_processes", "How many processes there are with --mp (--np).")
    parser.addini("braid_resources", "How many there are of resources: db:4 gpu:1.", "args", [])
    parser.addini("braid_share", "Session fixtures to set up once for all workers.", "args", [])
    parser.addini("braid_history", "Learn from earlier runs: on, read, off (--braid-history).")
    parser.addini("braid_threads", "Tests that each worker runs at once (--threads).")
    parser.addini("braid_progress", "How far the run is: auto, on, off (--braid-progress).")
    parser.addini("braid_tasks", "Async tests that each worker runs at once (--tasks).")
    parser.addini(
        "braid_strict_tasks",
        "Whether an async test fails that leaves tasks, async generators or event loops behind.",
        "bool",
        False,
    )
    parser.addini("test_timeout", "Seconds that a test may take in a worker (--test-timeout).")
    for name in sorted(cooperative):
        parser.addini(name[2:].replace("-", "_"), f"The same as {name}.", default="")
    for name, what in UNSAFE.items():
        parser.addini(name, what, type="linelist", default=[])
    for name in () if known & {"-n"} else UNUSED:
        parser.addini(name, "Of pytest-xdist; means nothing here.", type="paths")


_COOPERATIVE_OPTIONS = frozenset({"--max-asyncio-tasks", "--asyncio-task-timeout"})


def _cooperative_options(pluginmanager: pytest.PytestPluginManager) -> frozenset[str]:
    """Step around the engine of pytest-asyncio-cooperative; which of its options are missing."""
    missing = _COOPERATIVE_OPTIONS
    for name in ("asyncio-cooperative", "pytest_asyncio_cooperative.plugin"):
        if pluginmanager.hasplugin(name):
            missing = frozenset()
            pluginmanager.unregister(name=name)
        pluginmanager.register(AsCooperative(), name)  # a -p behind us finds the name taken
    return missing


def _meet_requirement(pluginmanager: pytest.PytestPluginManager) -> None:
    """Of ``required_plugins``, which pytest checks next: those that are stood in for, in a version
    whose interface is here."""
    config: Any = pluginmanager.get_plugin("pytestconfig")
    required: list[str] = config.getini("required_plugins")
    if any(word in each for each in required for word in ("xdist", "cooperative", "shared")):
        from pytest_braid.compat.finder import is_met

        required[:] = [each for each in required if not is_met(each)]


@pytest.hookimpl
def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(OwnHooks)
    if not pluginmanager.hasplugin("xdist"):  # which declares the same ones
        pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> None:
    """Register ``--forked`` unless pytest-forked has: all installed plugins are loaded by now.

    And remember the process as it is before any project code could change it, and watch who asks
    for the name of a worker.
    """
    early_config.stash[_parser_key] = parser
    early_config.pluginmanager.set_blocked("xdist")  # until it is known who distributes
    given = early_config.known_args_namespace
    _refuse(given)
    if _RERUNFAILURES in sys.modules:
        from pytest_braid.compat.rerunfailures import tell_of_hooks

        tell_of_hooks()
    if not early_config.pluginmanager.hasplugin("pytest_forked"):
        group = parser.getgroup("braid")
        group.addoption(*FORKED.names, help=FORKED.help, **FORKED.how)
        early_config.addinivalue_line("markers", _FORKED_MARK)
    if _is_spawned(early_config):
        _take_over()
    if _may_have_workers(early_config, args):
        _take_over()
        if AsTheyAre not in sys.meta_path:
            sys.meta_path.insert(0, AsTheyAre)
        from pytest_braid.seam.identity import questions
        from pytest_braid.seam.interpreter import remember_outputs, remember_random
        from pytest_braid.zygote.inheritance import remember_inheritance

        _cap_libraries(early_config)
        remember_outputs(_OUTPUTS)
        remember_random()
        remember_inheritance()
        questions(early_config)


def _know_asyncio(config: pytest.Config) -> None:
    """Where pytest-asyncio is not there, nor asked for by a conftest, ``--tasks`` goes by its mark
    and its settings."""
    parser = config.stash.get(_parser_key, None)
    names = ("asyncio", "pytest_asyncio.plugin")
    if parser is not None and not any(map(config.pluginmanager.hasplugin, names)):
        for name in _ASYNCIO_SETTINGS:
            parser.addini(name, "Of pytest-asyncio, for --tasks where that is not installed.")
        config.addinivalue_line("markers", _ASYNCIO_MARK)


_parser_key = pytest.StashKey[pytest.Parser]()

_ASYNCIO_SETTINGS = (
    "asyncio_mode",
    "asyncio_default_fixture_loop_scope",
    "asyncio_default_test_loop_scope",
)

_ASYNCIO_MARK = (
    "asyncio(loop_scope=None): an async test, for --tasks to run (pytest-asyncio, which is not "
    "installed; pytest-braid)."
)


def _cap_libraries(config: pytest.Config) -> None:
    """Before a conftest loads any; how many workers there will be is certain only later."""
    from pytest_braid.control.libraries import Caps
    from pytest_braid.options import cores, planned_workers

    caps = Caps()
    caps.share(cores(logical=True), planned_workers(config.known_args_namespace))
    config.add_cleanup(caps.lift)
    config.stash[_caps_key] = caps


@pytest.hookimpl
def pytest_plugin_registered(plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    if plugin_name == "pytest_cov":
        manager.register(BeforeCov(), "braid-before-cov")


_caps_key = pytest.StashKey[Any]()


class BeforeCov:
    """pytest-cov asks before any other whether there will be workers, of which ``-n`` need not have
    told."""

    @pytest.hookimpl(wrapper=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, args: list[str]
    ) -> Generator[None, None, None]:
        given = early_config.known_args_namespace
        if given.dist == "no" and _may_have_workers(early_config, args):
            from pytest_braid.options import is_watched

            if not is_watched(given):
                given.dist = "load"
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Fork the zygote and register the controller, before anything is configured.

    So every plugin configures itself once in each process, as controller or as worker, as it
    would under pytest-xdist.
    """
    _know_asyncio(config)
    if hasattr(config, "workerinput"):
        _announce(config)
        return
    if not _asks_for_workers(config.option, config):
        return
    from pytest_braid.options import settings_of

    settings = settings_of(config)
    caps = config.stash.get(_caps_key, None)
    if caps is not None:
        if settings is None:
            caps.lift()
        else:
            caps.share(settings.cores, settings.workers)
    if settings is not None:
        _start(config, settings)
    elif config.option.threads or config.option.tasks:
        from pathlib import Path

        from pytest_braid.local import Local

        option = config.option
        log = option.braid_log and Path(option.braid_log)
        timeline = [Path(path) for path in option.braid_timeline]
        config.pluginmanager.register(
            Local(option.threads, option.tasks, log, timeline=timeline), "braid-local"
        )


def _asks_for_workers(option: Any, config: pytest.Config) -> bool:
    """Whether ``-n`` is given, 0 included, ``--mp``, ``--forked``, ``--test-timeout``, threads,
    tasks, or ``--tx`` together with ``--dist`` or ``-d``."""
    if option.numprocesses is not None or getattr(option, "forked", False):
        return True
    if option.testtimeout is not None or option.use_mp or config.getini("mp"):
        return True
    for name in ("threads", "tasks"):
        given = getattr(option, name)
        if given or (given is None and config.getini(f"braid_{name}") not in ("", "0")):
            return True
    return bool(option.tx) and (option.distload or option.dist != "no")


def _may_have_workers(early_config: pytest.Config, args: list[str]) -> bool:
    """The same before all options are known, and for no worker of a run."""
    given = early_config.known_args_namespace
    asks = "--forked" in args or _asks_for_workers(given, early_config)
    return given.numprocesses != 0 and asks and not _is_spawned(early_config)


def _is_spawned(early_config: pytest.Config) -> bool:
    """Whether this is a worker that was started as an interpreter of its own."""
    return early_config.pluginmanager.hasplugin("pytest_braid.zygote.spawned")


def _take_over() -> None:
    """Of a run with workers: pytest-shared-session-scope is braid's, if it is installed, too."""
    if Instead not in sys.meta_path:
        for name in [name for name in sys.modules if name.partition(".")[0] == _SHARED]:
            del sys.modules[name]
        sys.meta_path.insert(0, Instead)


def _refuse(option: Any) -> None:
    for names, why, how in REFUSED:
        if getattr(option, how["dest"]):
            raise pytest.UsageError(f"{'/'.join(names)}: {why}.")
    for spec in option.tx:  # of pytest-xdist, if its options were there first
        fault = spec_fault(spec)
        if fault is not None:
            raise pytest.UsageError(f"--tx: {fault}")


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    _runs.append(config)
    config.add_cleanup(partial(_runs.remove, config))
    config.addinivalue_line(
        "markers",
        "xdist_group(name): with --dist loadgroup, tests of the same name run in one worker.",
    )
    config.addinivalue_line(
        "markers",
        "concurrent: this test runs at once with others that are marked so (pytest-threaded).",
    )
    if not config.pluginmanager.hasplugin("run-parallel"):  # it has these marks, too
        for mark in _UNSAFE_MARKS:
            config.addinivalue_line("markers", mark)
    for mark in (*_NEEDS_MARKS, *_COOPERATIVE_MARKS):
        config.addinivalue_line("markers", mark)
    if not any(map(config.pluginmanager.hasplugin, ("timeout", "pytest_timeout"))):
        config.addinivalue_line("markers", _TIMEOUT_MARK)


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Of a process without workers that has strands: just before pytest's own, behind those of the
    project. A seed's own marks start them, too."""
    if hasattr(session.config, "workerinput"):
        return None
    local: Any = session.config.pluginmanager.get_plugin("braid-local")
    if local is not None:
        found: bool | None = local.run_tests(session)
        return found
    is_cooperative = session.config.pluginmanager.hasplugin(_COOPERATIVE)
    if not is_cooperative and "pytest_braid.compat.threaded" not in sys.modules:
        return None
    from pytest_braid.local import run_marked

    return run_marked(session)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before any test is deselected: it may be the one that names its group's strategy."""
    is_mp = bool(config.option.use_mp or config.getini("mp"))
    if is_mp or _has_mark(items, "mp_group"):
        from pytest_braid.compat.mp import tell_groups

        tell_groups(items, is_mp=is_mp)


_COOPERATIVE = "braid-cooperative"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Every mark is there by now, also those that a conftest has added."""
    if _has_mark(session.items, "asyncio_cooperative"):
        from pytest_braid.compat.asyncio_cooperative import Cooperative

        session.config.pluginmanager.register(Cooperative(session.config), _COOPERATIVE)
    if hasattr(session.config, "workerinput"):
        _settle_behind_tests(session.config)
        _expect_nesting(session.config)


def _settle_behind_tests(config: pytest.Config) -> None:
    """Of a worker, or of what they are forked from: shared fixtures may be left without a user."""
    if "pytest_braid.compat.shared_values" in sys.modules:
        from pytest_braid.compat.shared_settling import Settling

        config.pluginmanager.register(Settling(), "braid-settling")


def _expect_nesting(config: pytest.Config) -> None:
    """Of a worker, or of what they are forked from: tests may run inside of others."""
    threaded = sys.modules.get("pytest_braid.compat.threaded")
    if threaded is not None:
        from pytest_braid.zygote.marks import nests_key

        config.stash[nests_key] = threaded.has_generated()


@pytest.hookimpl
def pytest_report_teststatus(report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Of the first run of a test that runs once more, as pytest-rerunfailures shows it."""
    if report.outcome != "rerun":
        return None
    return "rerun", "R", ("RERUN", {"yellow": True})


def _has_mark(items: Iterable[pytest.Item], name: str) -> bool:
    """Whether there is such a mark; each collector is looked at once."""
    seen: set[object] = set()
    for item in items:
        node: Any = item
        while node is not None and node not in seen:
            if any(mark.name == name for mark in node.own_markers):
                return True
            seen.add(node)
            node = node.parent
    return False


@pytest.hookimpl
def pytest_report_header(config: pytest.Config) -> str | None:
    """Say who runs the tests where two could, and of a limit that nobody enforces."""
    if config.pluginmanager.hasplugin("dsession"):
        return (
            "braid: in place of pytest-xdist, which is installed too (-p no:braid: with xdist)"
            if _has_xdist()
            else None
        )
    at_once = config.option.threads or config.option.tasks
    if config.option.braid_explain is not None and not at_once:
        return (
            "braid: nothing to explain: tests run one after another in this process and wait for "
            "nothing (-n N makes workers)"
        )
    if config.option.braid_timeline and not config.option.threads:
        return (
            "braid: no timeline of this run: tests run one after another in this process (-n N "
            "makes workers)"
        )
    if config.option.testtimeout is None and not config.getini("test_timeout"):
        return None
    which = "no test but an async one" if config.option.tasks else "no test"
    return (
        f"braid: {which} is ended at its timeout in this run: it has no worker that could be ended "
        "(-n 1 makes one)"
    )


def _has_xdist() -> bool:
    """Whether pytest-xdist is installed, and not only stood in for."""
    from importlib.machinery import PathFinder

    return PathFinder.find_spec("xdist") is not None


class AsTheyAre:
    """The first on ``sys.meta_path`` of a run with workers: finds our modules. pytest would rewrite
    the assertions in them, as in those of any plugin; nobody is to see these, and to load what it
    has made of a module takes nearly as long again as to import it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        if not name.startswith("pytest_braid."):
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, path)


_SHARED = "pytest_shared_session_scope"

_STAND_INS = {"xdist", "pytest_threaded", "pytest_asyncio_cooperative", _SHARED}
"""Packages that have a stand-in where they are not installed."""

_STOOD_IN_FOR = {"pytest-xdist", "pytest-asyncio-cooperative", "pytest-shared-session-scope"}
"""Distributions of which a version is known then."""


class Instead:
    """Among the first on ``sys.meta_path`` of a run with workers: what stands in for a package
    though that is installed, because its engine knows nothing of workers that crash or stop."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        if name != _SHARED:
            return None
        from pytest_braid.compat.finder import spec_of

        return spec_of(name)


class StandIns:
    """The last on ``sys.meta_path``: finds what projects import from pytest-xdist and others, and
    the version that they ask for, where those are not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        if name not in _STAND_INS:
            return None
        from pytest_braid.compat.finder import spec_of

        return spec_of(name)

    @staticmethod
    def find_distributions(context: DistributionFinder.Context) -> Iterable[Distribution]:
        """Only if asked for by name: in a list of what is installed it has no place."""
        if context.name not in _STOOD_IN_FOR:
            return ()
        from pytest_braid.compat.finder import StandIn

        return (StandIn(context.name),)

    @staticmethod
    def invalidate_caches() -> None:
        """There are none."""


_RERUNFAILURES = "pytest_rerunfailures"


class AsXdist:
    """Registered as ``xdist`` while braid distributes: the question that plugins and conftests
    ask (``hasplugin("xdist")``) before they register what they do for workers. And while plugins
    are loaded, so that no other gets this name."""


class AsCooperative:
    """Registered under the names of pytest-asyncio-cooperative, whose tests run here."""


def _start(config: pytest.Config, settings: Any) -> None:
    from pytest_braid.zygote.inheritance import own_children, own_threads

    config.pluginmanager.set_blocked("pytest_forked")  # its option is ours now, and so are marks
    _announce(config)
    held = []
    if own_threads() or own_children():
        from pytest_braid.zygote.census import held_by_controller

        held = held_by_controller()
    if settings.start_method == "spawn" or (settings.start_method == "auto" and held):
        _spawn(config, settings, held)
    elif held:
        from pytest_braid.control.texts import refusal

        raise pytest.UsageError(refusal(held))
    else:
        _fork(config, settings)


def _announce(config: pytest.Config) -> None:
    config.pluginmanager.unblock("xdist")
    config.pluginmanager.register(AsXdist(), "xdist")
    if _RERUNFAILURES in sys.modules:
        from pytest_braid.compat.rerunfailures import Reconnecting

        config.pluginmanager.register(Reconnecting())
    if getattr(config.option, "cov_source", None):  # --cov
        from pytest_braid.seam.coverage import Keeping

        config.pluginmanager.register(Keeping(), "braid-coverage")


def _fork(config: pytest.Config, settings: Any) -> None:
    from pytest_braid.control.child import fork_zygote
    from pytest_braid.seam.identity import questions

    workerinput = {
        "workerid": "gw0",
        "workercount": settings.workers,
        "testrunuid": settings.testrun_uid,
        **settings.for_workers(),
    }
    begin = partial(_begin, workerinput, questions(config))
    child = fork_zygote(begin, config, redirect=not settings.live)
    if child is None:
        return  # in the zygote: pytest goes on, there too
    questions(config).close()
    from pytest_braid.control.fleet import Zygote
    from pytest_braid.control.live import Live

    _control(config, settings, Zygote(child, Live(config)), [])


def _begin(workerinput: dict[str, Any], asked: Any, *given: Any) -> None:
    from pytest_braid.zygote.life import Born, begin

    begin(Born(workerinput, asked), *given)


def _spawn(config: pytest.Config, settings: Any, held: list[str]) -> None:
    from pytest_braid.control.live import Live
    from pytest_braid.control.spawner import make_spawner

    spawner = make_spawner(config, Live(config), held, redirect=not settings.live)
    _control(config, settings, spawner, held)


def _control(config: pytest.Config, settings: Any, zygote: Any, held: list[str]) -> None:
    from pytest_braid.control.session import Controller

    config.pluginmanager.register(Controller(config, settings, zygote, held), "dsession")
    config.add_cleanup(zygote.abandon)


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The name of the worker that runs this test, such as ``gw0``; ``master`` without workers."""
    workerinput = getattr(request.config, "workerinput", None)
    return "master" if workerinput is None else str(workerinput["workerid"])


@pytest.fixture(scope="session")
def testrun_uid(request: pytest.FixtureRequest) -> str:
    """An identifier of this run that all its workers share."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        return str(workerinput["testrunuid"])
    return request.config.option.testrunuid or os.urandom(16).hex()


@pytest.fixture(scope="session")
def mp_use_mp(request: pytest.FixtureRequest) -> bool:
    """Whether this run was asked to keep groups of tests apart (``--mp``)."""
    return _mp(request.config)[0]


@pytest.fixture(scope="session")
def mp_num_processes(request: pytest.FixtureRequest) -> int:
    """How many processes it was asked to use at a time (``--np``); 0 without ``--mp``."""
    return _mp(request.config)[1]


@pytest.fixture(scope="session")
def mp_lock(request: pytest.FixtureRequest) -> Any:
    """A lock that one test holds at a time, in all processes of the run: ``with mp_lock: ...``."""
    from pytest_braid.compat.mp_sync import Lock

    return Lock(_asker(request.config), "mp_lock")


@pytest.fixture(scope="session")
def mp_message_board(request: pytest.FixtureRequest) -> Any:
    """A dictionary that all processes of the run have in common; its values are copies."""
    from pytest_braid.compat.mp_sync import MessageBoard

    return MessageBoard(_asker(request.config))


@pytest.fixture(scope="session")
def mp_trail(request: pytest.FixtureRequest) -> Any:
    """Tells who is first on a named trail, and who last.

    ``with mp_trail("name", "start") as is_first`` before a shared thing is used, and ``with
    mp_trail("name", "finish") as is_last`` behind it.
    """
    from pytest_braid.compat.mp_sync import Trail

    return Trail(_asker(request.config))


def _asker(config: pytest.Config) -> Any:
    """Who asks the board of the run: the worker's clerk, or, where there are no workers, one who
    has a board here."""
    plugins = config.pluginmanager
    if not plugins.hasplugin("braid-clerk"):
        asker = _new_asker()
        with suppress(ValueError):  # another thread was faster
            plugins.register(asker, "braid-clerk")
    return plugins.get_plugin("braid-clerk")


def _new_asker() -> Any:
    from pytest_braid.compat.mp_sync import InProcess
    from pytest_braid.schedule.board import Board

    return InProcess(Board())


_runs: list[pytest.Config] = []
"""The runs in this process; one inside of another (``pytester``) is last."""

_without_run: list[Any] = []
"""Who is asked where braid is not part of the run (``-p no:braid``)."""


def __getattr__(name: str) -> Any:
    """``Lock``, which knows from here on whom to ask."""
    if name != "Lock":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_braid.compat import lock

    lock.find_asker = _asker_of_run
    return lock.Lock


def _asker_of_run() -> Any:
    if _runs:
        return _asker(_runs[-1])
    if not _without_run:
        _without_run.append(_new_asker())
    return _without_run[0]


def _mp(config: pytest.Config) -> tuple[bool, int]:
    from pytest_braid.options import mp_of

    return mp_of(config)


class OwnHooks:
    """Known whoever distributes, so that a conftest may implement them in any case."""

    @pytest.hookspec
    def pytest_braid_worker_started(self, config: pytest.Config, worker_id: str) -> None:
        """In each worker, forked or spawned, before its first test: it has its name, ``gw0`` and so
        on, and what it opens from here on is its own."""


class Hooks:
    """Hooks that plugins may implement; names and meaning are pytest-xdist's."""

    @pytest.hookspec
    def pytest_configure_node(self, node: Any) -> None:
        """In the controller, before a worker exists: add to ``node.workerinput`` what it is to
        find as ``config.workerinput``."""

    @pytest.hookspec
    def pytest_testnodeready(self, node: Any) -> None:
        """In the controller: a worker will take tests."""

    @pytest.hookspec
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """In the controller: a worker has ended; ``error`` says how, if it crashed. What it left
        in ``config.workeroutput`` is ``node.workeroutput``."""

    @pytest.hookspec
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        """In the controller, before the first worker is configured."""

    @pytest.hookspec
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """In the controller: the node ids that a worker has collected."""

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_auto_num_workers(self, config: pytest.Config) -> int | None:
        """How many workers ``-n auto`` and ``-n logical`` mean
        (``config.option.numprocesses`` says which of the two)."""

    @pytest.hookspec
    def pytest_xdist_newgateway(self, gateway: Any) -> None:
        """In the controller: a worker's gateway, which has its name as ``id``, has been made."""

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """In the controller: which tests stay together, by the method ``_split_scope(nodeid)`` of
        what is returned."""

    @pytest.hookspec
    def pytest_xdist_rsyncstart(self, source: Any, gateways: Sequence[Any]) -> None:
        """Never called: nothing is copied to workers of the same machine."""

    @pytest.hookspec
    def pytest_xdist_rsyncfinish(self, source: Any, gateways: Sequence[Any]) -> None:
        """Never called, like ``pytest_xdist_rsyncstart``."""

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_getremotemodule(self) -> Any:
        """Refused: a worker is a copy of this process and runs no module of its own."""

    @pytest.hookspec
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """In the controller: the test with node id ``crashitem`` ended its worker's process;
        ``report`` is about to say so. ``sched.mark_test_pending(crashitem)`` has it run again."""
