"""pytest's config and session, as far as forked copies must differ or the controller must know."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_braid.seam.routing import dress

_FIXTURES, _FIXTURES_PLUGIN = "_fixturemanager", "funcmanage"
"""pytest's manager of fixtures: in the session, and among the plugins."""

_LOCK, _CURRENT = ".lock", "pytest-current"
"""What pytest has in its base directory from the beginning, and beside it."""


def probe_basetemp(config: pytest.Config) -> str | None:
    """Why a worker cannot be given a base directory of its own, if so."""
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is None or hasattr(factory, "_basetemp"):
        return None
    return (
        "pytest's temporary directories are built otherwise than braid knows them (TempPathFactory)"
    )


def run_basetemp(config: pytest.Config) -> Path | None:
    """The base directory of the run, made now; ``None`` without pytest's ``tmpdir`` plugin."""
    factory: Any = getattr(config, "_tmp_path_factory", None)
    return None if factory is None else Path(factory.getbasetemp())


def forget_unused_basetemp(config: pytest.Config) -> None:
    """At the end, and before pytest's own end: remove the base directory of the run if it is empty.

    pytest tidies up behind earlier runs, for minutes perhaps, when it has made one. A serial run
    makes none unless a test needs it; here it is made before anybody can know.
    """
    factory: Any = getattr(config, "_tmp_path_factory", None)
    base: Path | None = getattr(factory, "_basetemp", None)
    if base is None or factory._given_basetemp is not None:
        return
    try:
        if any(entry.name != _LOCK for entry in base.iterdir()):
            return
        (base / _LOCK).unlink(missing_ok=True)
        base.rmdir()
    except OSError:  # then it is pytest's to deal with
        return
    with contextlib.suppress(OSError):
        _point_at_newest(base.with_name(_CURRENT), base)
    factory._basetemp = None
    if hasattr(factory, "_exit_stack"):  # pytest 9.2
        factory._exit_stack.pop_all()
    else:
        from _pytest import pathlib

        if hasattr(pathlib, "cleanup_numbered_dir"):
            atexit.unregister(pathlib.cleanup_numbered_dir)


def _point_at_newest(link: Path, removed: Path) -> None:
    """Let pytest's link to the latest base directory be what it would be without this run."""
    if not link.is_symlink() or link.readlink().name != removed.name:
        return
    link.unlink()
    prefix = removed.name.rstrip("0123456789")
    ends = (path.name.removeprefix(prefix) for path in removed.parent.glob(f"{prefix}*"))
    numbers = [int(end) for end in ends if end.isdecimal()]
    if numbers:
        link.symlink_to(removed.with_name(f"{prefix}{max(numbers)}"))


def forget_first_arguments(config: pytest.Config, count: int) -> None:
    """Let plugins see the arguments that the user has given, without ours before them."""
    given = config.invocation_params
    config.invocation_params = pytest.Config.InvocationParams(
        args=given.args[count:], plugins=given.plugins, dir=given.dir
    )


def answer_late(config: pytest.Config, name: str, find: Callable[[], object]) -> Callable[[], None]:
    """Let an attribute of the config be found when somebody first looks at it, or asks whether it
    is there. Returns what looks for it now."""
    kind: Any = type(config)

    def settle(self: Any) -> object:
        value = find()
        self.__class__ = kind
        setattr(self, name, value)
        return value

    config.__class__ = type(kind.__name__, (kind,), {name: property(settle)})
    return lambda: getattr(config, name) and None


def take_over_fixtures(config: pytest.Config) -> Callable[[pytest.Session], None] | None:
    """Do not let pytest search all plugins for fixtures when ``pytest_sessionstart`` comes to it;
    returns what does so. Where it does not look as known, nothing is changed: ``None``."""
    plugin: Any = config.pluginmanager.get_plugin("fixtures")
    hook: Any = config.hook.pytest_sessionstart
    find: Callable[[pytest.Session], None] | None = getattr(plugin, hook.name, None)
    if find is None or not hasattr(hook, "_remove_plugin"):
        return None
    hook._remove_plugin(plugin)
    return find


def find_fixtures_late(session: pytest.Session, find: Callable[[pytest.Session], None]) -> None:
    """Let fixtures of plugins be found when somebody first asks the session, or its plugins, for
    pytest's manager of fixtures. ``find`` is what :func:`take_over_fixtures` has returned."""
    if session.config.option.traceconfig:  # which shows each plugin, when it is registered
        find(session)
        return
    plugins = session.config.pluginmanager
    stand_in = _LateManager()

    def settle(self: Any) -> object:
        self.__class__ = kind
        if plugins.is_registered(stand_in):  # it is not if its name is blocked
            plugins.unregister(stand_in)
        find(self)
        return getattr(self, _FIXTURES)

    def replace(self: Any, value: object) -> None:
        settle(self)
        setattr(self, _FIXTURES, value)

    kind = dress(session, {_FIXTURES: property(settle, replace)})
    plugins.register(stand_in, _FIXTURES_PLUGIN)
    object.__setattr__(stand_in, "session", session)


class _LateManager:
    """Passes everything on to the manager, as soon as it has a session: a plugin is looked at while
    it is registered."""

    def __getattribute__(self, name: str) -> Any:
        session = object.__getattribute__(self, "__dict__").get("session")
        if session is None:
            return object.__getattribute__(self, name)
        return getattr(getattr(session, _FIXTURES), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(getattr(object.__getattribute__(self, "session"), _FIXTURES), name, value)


def plan_basetemp(config: pytest.Config, path: Path) -> None:
    """Name the base directory that is made when somebody wants it."""
    config.option.basetemp = str(path)
    factory: Any = getattr(config, "_tmp_path_factory", None)
    if factory is not None:
        factory._given_basetemp = path


def give_basetemp(config: pytest.Config, path: Path, number: int) -> None:
    """Give a worker its own base directory, which is made when somebody wants it.

    Where a predecessor of the same name has left something, ``number`` tells the two apart: what
    its tests have made is kept, and they cannot get in the way of the same names in this one.
    """
    if path.exists():
        path = path.with_name(f"{path.name}-{number}")
    config.option.basetemp = str(path)
    factory: Any = getattr(config, "_tmp_path_factory", None)
    if factory is None:
        return
    factory._given_basetemp, factory._basetemp = path, None
    if hasattr(factory, "_next_number"):  # pytest 9.2
        factory._next_number.clear()


def tear_down(session: pytest.Session) -> None:
    """All fixtures that stand."""
    private: Any = session
    private._setupstate.teardown_exact(None)


def leave(session: pytest.Session, exitstatus: int) -> None:
    """Do what pytest's own hooks do when a session ends that matters to this process alone: tear
    down what is set up, and tidy the base directory. There may be thousands of them, so an empty
    one is removed."""
    tear_down(session)
    private: Any = session
    tmpdir: Any = session.config.pluginmanager.get_plugin("tmpdir")
    if tmpdir is not None:
        tmpdir.pytest_sessionfinish(session, exitstatus)
        base: Path | None = private.config._tmp_path_factory._basetemp
        if base is not None:
            with contextlib.suppress(OSError):
                base.rmdir()


def unconfigure(config: pytest.Config) -> None:
    """``pytest_unconfigure`` and the callbacks of ``config.add_cleanup``, once."""
    config._ensure_unconfigure()


def end_with(config: pytest.Config, end: Callable[[BaseException | None], NoReturn]) -> None:
    """Let ``end`` be called behind all other cleanups of the config, those of pytest included, with
    what they have raised."""
    private: Any = config
    if hasattr(config, "_cleanup_stack"):  # pytest 8.4
        others = private._cleanup_stack.pop_all()
        private._cleanup_stack.push(lambda *raised: end(raised[1]))
        private._cleanup_stack.push(others)
    else:
        private._cleanup.insert(0, lambda: end(None))


def fresh_cleanups(config: pytest.Config) -> Callable[[], None]:
    """Let ``config.add_cleanup`` of a forked worker keep callbacks of its own; those from before
    the fork are the zygote's. Returns what calls them."""
    private: Any = config
    if hasattr(config, "_cleanup_stack"):  # pytest 8.4
        private._cleanup_stack = ExitStack()
        close: Callable[[], None] = private._cleanup_stack.close
        return close
    private._cleanup = []

    def call_all() -> None:
        while private._cleanup:
            private._cleanup.pop()()

    return call_all


def own_order(session: pytest.Session, items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The order in which pytest would put these tests, so that fixtures are set up less often."""
    ordered = [*items]
    plugin: Any = session.config.pluginmanager.get_plugin("funcmanage")
    reorder = getattr(plugin, "pytest_collection_modifyitems", None)
    if reorder is not None:
        reorder(items=ordered)
    return ordered


def stepwise_count(config: pytest.Config) -> int | None:
    """How many tests ``--stepwise`` counted in this process, if it runs and counts (pytest 8.4)."""
    info = getattr(config.pluginmanager.get_plugin("stepwiseplugin"), "cached_info", None)
    count = getattr(info, "last_test_count", None)
    return count if isinstance(count, int) else None


def set_stepwise_count(config: pytest.Config, count: int) -> None:
    """Tell the controller's ``--stepwise`` what the collecting process counted."""
    plugin: Any = config.pluginmanager.get_plugin("stepwiseplugin")
    if hasattr(plugin, "cached_info"):
        plugin.cached_info.last_test_count = count


def has_pytest_timeout(config: pytest.Config) -> bool:
    """Whether pytest-timeout is loaded, by its entry point or with ``-p``: the mark ``timeout`` is
    its own then."""
    return any(map(config.pluginmanager.hasplugin, ("timeout", "pytest_timeout")))


def is_own(module: str) -> bool:
    """Whether a hook implementation of this module is pytest's."""
    return module.partition(".")[0] == "_pytest"


def report_identity(report: pytest.TestReport) -> Any:
    """What makes the next report of the same test: pytest 9.2 parses node ids, once is enough."""
    return getattr(report, "id", report.nodeid)
