"""What is printed, logged and warned of where no test runs, as pytest's plugins would take it."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from _pytest.warnings import catch_warnings_for_item

_FIELDS = (
    *("name", "levelno", "levelname", "pathname", "filename", "module", "lineno", "funcName"),
    *("created", "msecs", "relativeCreated", "thread", "threadName", "process", "processName"),
    *("exc_text", "stack_info"),
)
"""Attributes of a log record that are plain values."""


class Taken:
    """What was printed and logged."""

    def __init__(self) -> None:
        self.out = self.err = ""
        self.records: list[dict[str, Any]] = []


class _Recorder(logging.Handler):
    def __init__(self, records: list[dict[str, Any]]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {name: getattr(record, name, None) for name in _FIELDS}
            if record.exc_info and not fields["exc_text"]:
                fields["exc_text"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            self._records.append(fields | {"msg": record.getMessage(), "args": None})
        except Exception:  # noqa: BLE001 -- as logging's own handlers
            self.handleError(record)


def open_capture(config: pytest.Config) -> None:
    """Take what is printed from here on, between phases as well."""
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    if manager is not None:
        manager.resume_global_capture()


@contextmanager
def taken(config: pytest.Config) -> Iterator[Taken]:
    """Take what is printed and logged, since the last time and in this phase."""
    __tracebackhide__ = True
    found = Taken()
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    recorder = _Recorder(found.records)
    level = getattr(plugin, "log_level", None)
    root = logging.getLogger()
    before = root.level
    root.addHandler(recorder)
    if level is not None:
        root.setLevel(min(before, level))
    try:
        yield found
    finally:
        root.setLevel(before)
        root.removeHandler(recorder)
        if manager is not None:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            found.out, found.err = map(str, manager.read_global_capture())


def replay(records: Sequence[dict[str, Any]], out: str, err: str) -> None:
    """Print and log here what was printed and logged there."""
    if out:
        sys.stdout.write(out)
    if err:
        sys.stderr.write(err)
    for fields in records:
        record = logging.makeLogRecord(fields)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


@contextmanager
def warnings_told(item: pytest.Item) -> Iterator[None]:
    """Record warnings, and call pytest's hook for each, as it does of a test."""
    __tracebackhide__ = True
    with catch_warnings_for_item(config=item.config, ihook=item.ihook, when="runtest", item=item):
        yield


def failed_report(item: pytest.Item, error: pytest.ExceptionInfo[BaseException], when: Any) -> Any:
    """Pytest's report of a failed setup or teardown, before any plugin has changed it."""
    call: pytest.CallInfo[None] = pytest.CallInfo(None, error, 0.0, 0.0, 0.0, when, _ispytest=True)
    return pytest.TestReport.from_item_and_call(item, call)
