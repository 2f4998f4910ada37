"""Log records, for each of several running tests.

pytest's logging plugin has two handlers, one for ``caplog`` and one for the report, and puts them
on the root logger during each phase. Each test has two of its own. They stand in no list of a
logger, where others could meet, remove or skip them: they are a test's own as its streams are, and
called with the records of the code that runs for it.

Levels stay the process's: what ``--log-level`` asks for is set once for all.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import pytest
from _pytest import logging as pytest_logging

from pytest_braid.seam.routing import Pool, Values, dress, in_context, missing, takes_otherwise

_HANDLERS = ("caplog_handler", "report_handler")
_KEY = "logging-plugin"
_AROUND = "_runtest_for"
_NEEDED = ("caplog_records_key", "caplog_handler_key")


class _OwnHandler(pytest_logging.LogCaptureHandler):
    """Takes the records of one test. ``loggers`` are those to which pytest or the test adds it."""

    def __init__(self, formatter: logging.Formatter, level: int | None, values: Values) -> None:
        super().__init__()
        self.setFormatter(formatter)
        if level is not None:
            self.setLevel(level)
        self.loggers: list[logging.Logger] = []
        self.test: dict[str, Any] | None = None
        self._values = values

    def handle(self, record: logging.LogRecord) -> Any:
        """Someone may have put it into a list, where it hears of all."""
        __tracebackhide__ = True
        return super().handle(record) if self._values() is self.test else False


class _Phase:
    """What pytest does around a phase of a test: let the handlers hear the root logger and, if it
    does so (``_HEARS_ALL``), those whose records do not come to it; put what was logged into the
    report."""

    __slots__ = ("_aloof", "_handlers", "_item", "_when")

    def __init__(self, plugin: Any, item: pytest.Item, when: str) -> None:
        self._handlers = (plugin.caplog_handler, plugin.report_handler)
        self._item, self._when = item, when

    def __enter__(self) -> None:
        root = logging.root
        self._aloof: list[logging.Logger] = []
        for logger in root.manager.loggerDict.values() if _HEARS_ALL else ():
            if isinstance(logger, logging.Logger) and not logger.propagate and logger is not root:
                self._aloof.append(logger)
        for handler in self._handlers:
            if root not in handler.loggers:
                handler.loggers.append(root)
            for logger in self._aloof:
                logger.addHandler(handler)
            handler.reset()
        for_test, _ = self._handlers
        self._item.stash[pytest_logging.caplog_records_key][self._when] = for_test.records
        self._item.stash[pytest_logging.caplog_handler_key] = for_test

    def __exit__(self, *_exception: object) -> None:
        _, for_report = self._handlers
        try:
            text = for_report.stream.getvalue().strip()
            self._item.add_report_section(self._when, "log", text)
        finally:
            for handler in self._handlers:
                if logging.root in handler.loggers:
                    handler.loggers.remove(logging.root)
                for logger in self._aloof:
                    logger.removeHandler(handler)

    def __iter__(self) -> Generator[None, Any, Any]:
        """Before pytest 8.4 it is not entered, but walked through."""
        __tracebackhide__ = True
        with self:
            return (yield)


_HEARS_ALL = hasattr(getattr(pytest_logging, "catching_logs", None), "attached_loggers")
"""Whether this pytest (since 9.1) lets its handlers hear loggers whose records do not come to the
root logger."""


def _own_formatter(shared: Any) -> Any:
    """pytest's, which colours levels, writes the format of a record's level into its style."""
    own = copy(shared)
    own._style = copy(shared._style)
    return own


def _own_plugin(shared: Any, values: Values) -> Any:
    """Between two phases. The level of the root logger is not for it to change."""
    own = copy(shared)
    formatter = _own_formatter(shared.formatter)
    for name in _HANDLERS:
        setattr(own, name, _OwnHandler(formatter, shared.log_level, values))
    own.log_level = None
    return own


def _is_clean(plugin: Any) -> bool:
    """Between two phases again, and not left in the middle of one (Ctrl-C)."""
    return not (plugin.caplog_handler.loggers or plugin.report_handler.loggers)


def _own_handlers(plugin: Any) -> list[_OwnHandler]:
    """For the test, and for its report."""
    return [] if plugin is None else [plugin.caplog_handler, plugin.report_handler]


class _View:
    """What ``Logger.callHandlers`` looks at, of a logger and of those above it."""

    def __init__(self, logger: logging.Logger, own: list[_OwnHandler]) -> None:
        self.name, self.manager, self.propagate = logger.name, logger.manager, logger.propagate
        here = [handler for handler in own if logger in handler.loggers]
        self.handlers = [*logger.handlers, *here]
        self.parent = logger.parent and logger.propagate and _View(logger.parent, own)


class _Loggers(dict[str, Any]):
    """All loggers by name. pytest walks through them while a test may be making one."""

    def values(self) -> Any:
        return list(dict.values(self))


def _plugin(config: pytest.Config) -> Any:
    return config.pluginmanager.get_plugin("logging-plugin")


def probe(config: pytest.Config) -> str | None:
    """Whether plugin and module keep what they keep where it is looked for."""
    plugin = _plugin(config)
    if plugin is None:
        return None
    return (
        missing(
            plugin,
            dict.fromkeys((*_HANDLERS, "log_level", "log_cli_handler", "formatter", _AROUND)),
        )
        or takes_otherwise(getattr(plugin, _AROUND), "item", "when")
        or missing(pytest_logging, dict.fromkeys(_NEEDED))
        or missing(logging.root.manager, {"loggerDict": None})
    )


@contextmanager
def isolated(config: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test have its own records."""
    plugin = _plugin(config)
    if plugin is None:
        yield
        return
    with (
        _methods_replaced(values),
        _loggers_listed(),
        _level_lowered(plugin.log_level),
        _phases_routed(plugin, values),
    ):
        yield


@contextmanager
def _phases_routed(plugin: Any, values: Values) -> Iterator[None]:
    """What the plugin does in a phase, it does with what the running test has of its own."""

    def runtest_for(self: Any, item: pytest.Item, when: str) -> Any:
        own = running() or values()
        if own is None:
            return kind._runtest_for(self, item, when)
        if _KEY not in own:
            own[_KEY] = pool.lend(own)
            for handler in _own_handlers(own[_KEY]):
                handler.test = own
        return _Phase(own[_KEY], item, when)

    running = in_context(values)
    pool = Pool(lambda: _own_plugin(plugin, values), _is_clean)
    kind: Any = type(plugin)
    dress(plugin, {_AROUND: runtest_for})
    try:
        yield
    finally:
        plugin.__class__ = kind


@contextmanager
def _methods_replaced(values: Values) -> Iterator[None]:
    kind: Any = logging.Logger
    add, remove, call = kind.addHandler, kind.removeHandler, kind.callHandlers

    def add_handler(self: logging.Logger, handler: Any) -> None:
        if not isinstance(handler, _OwnHandler):
            add(self, handler)
        elif self not in handler.loggers:
            handler.loggers.append(self)

    def remove_handler(self: logging.Logger, handler: Any) -> None:
        if isinstance(handler, _OwnHandler) and self in handler.loggers:
            handler.loggers.remove(self)
        else:
            remove(self, handler)

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        __tracebackhide__ = True
        own = values()
        call(self if own is None else _View(self, _own_handlers(own.get(_KEY))), record)

    kind.addHandler, kind.removeHandler, kind.callHandlers = (
        add_handler,
        remove_handler,
        call_handlers,
    )
    try:
        yield
    finally:
        kind.addHandler, kind.removeHandler, kind.callHandlers = add, remove, call


@contextmanager
def _loggers_listed() -> Iterator[None]:
    manager: Any = logging.root.manager
    before = manager.loggerDict
    manager.loggerDict = _Loggers(before)
    try:
        yield
    finally:
        before.clear()
        before.update(manager.loggerDict)
        manager.loggerDict = before


@contextmanager
def _level_lowered(level: int | None) -> Iterator[None]:
    """As pytest does in each phase, where it would be put back under those that still run."""
    before = logging.root.level
    if level is None or level >= before:
        yield
        return
    logging.root.setLevel(level)
    try:
        yield
    finally:
        if logging.root.level == level:
            logging.root.setLevel(before)
