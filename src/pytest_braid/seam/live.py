"""Output that pytest does not capture, and its live log: what of them forked copies must not share,
and where the terminal's own lines stand."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sys
from collections.abc import Sequence
from io import FileIO, StringIO, TextIOWrapper
from typing import Any

import pytest

from pytest_braid.seam import interpreter


def prints_live(config: pytest.Config) -> bool:
    """Whether what tests print is shown at once (``-s``, ``--capture=tee-sys``, ``-p no:capture``),
    which is known before conftests are."""
    captures = getattr(config.known_args_namespace, "capture", "no")
    return captures in ("no", "tee-sys")


def logs_live(config: pytest.Config) -> bool:
    """Whether what tests log is shown at once (``--log-cli-level``, ``log_cli``)."""
    manager = config.pluginmanager
    if not (manager.has_plugin("logging") and manager.has_plugin("terminal")):
        return False
    return config.getoption("--log-cli-level") is not None or bool(config.getini("log_cli"))


def print_to(config: pytest.Config, descriptors: Sequence[int]) -> None:
    """Print to these, stdout and stderr, if there are any, and if what tests print is shown."""
    if not prints_live(config):
        return
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
    print_lines()


def print_lines() -> None:
    """A line that Python code prints is to be seen at once, and not when a buffer is full, as
    Python does it where there is no terminal."""
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(Exception):  # a project has put something of its own there
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def end_terminal_line(config: pytest.Config) -> bool:
    """Let the terminal reporter end the line that it has begun; false if it has begun none."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    writer: Any = getattr(reporter, "_tw", None)
    if not getattr(writer, "width_of_current_line", 0):
        return False
    writer.line()
    writer.flush()
    reporter.currentfspath = None
    return True


def end_result(config: pytest.Config) -> None:
    """Let the terminal reporter of this process end its line, if that has the result of a test in
    it, and not just its name: with ``-v`` no other test's output belongs behind that."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    line: str = getattr(getattr(reporter, "_tw", None), "_current_line", "")
    if line and not line.endswith(" ") and getattr(reporter, "showlongtestinfo", False):
        end_terminal_line(config)


class LiveLog:
    """Stands for the terminal reporter where pytest's live log writes: what belongs to one record
    goes to a descriptor in one piece."""

    def __init__(self, reporter: Any, descriptor: int) -> None:
        from _pytest.config import create_terminal_writer

        self.descriptor = descriptor
        self._text = StringIO()
        self._writer = create_terminal_writer(reporter.config, self._text)
        self._writer.hasmarkup = reporter._tw.hasmarkup
        with contextlib.suppress(OSError):
            self._writer.fullwidth = os.get_terminal_size(descriptor).columns

    def write(self, text: str) -> None:
        if text != "\n":  # which would end the line of the test's name: it is on another screen
            self._writer.write(text)

    def section(self, title: str, sep: str, **markup: bool) -> None:
        self._writer.sep(sep, title, **markup)

    def flush(self) -> None:
        left = self._text.getvalue().encode(errors="backslashreplace")
        self._text.seek(0)
        self._text.truncate()
        while left:
            left = left[os.write(self.descriptor, left) :]


def log_to(config: pytest.Config, descriptor: int) -> None:
    """Let pytest's live log, if there is one, write to ``descriptor``. The one that it has written
    to in this process's parent is closed."""
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    handler = getattr(plugin, "log_cli_handler", None)
    if not isinstance(handler, logging.StreamHandler):
        return
    stream: Any = handler.stream
    if isinstance(stream, LiveLog):
        os.close(stream.descriptor)
        stream.descriptor = descriptor
    else:
        handler.setStream(LiveLog(stream, descriptor))


def colour_logs(config: pytest.Config) -> None:
    """Colour the levels of log records as in the controller, whose terminal this process lacks."""
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    handler: Any = getattr(plugin, "log_cli_handler", None)
    for formatter in (getattr(plugin, "formatter", None), getattr(handler, "formatter", None)):
        writer: Any = getattr(formatter, "_terminalwriter", None)
        if writer is not None and not writer.hasmarkup:
            writer.hasmarkup = True
            colours: Any = formatter
            for level, names in colours.LOGLEVEL_COLOROPTS.items():
                colours.add_color_level(level, *names)


_mode = pytest.StashKey[str | None]()
"""What ``--log-file-mode`` was."""


def open_log_file_behind(config: pytest.Config) -> None:
    """Before it is configured: let the file of ``--log-file`` be continued, which the controller
    has emptied, or not."""
    if hasattr(config.option, "log_file_mode"):
        config.stash[_mode] = config.option.log_file_mode
        config.option.log_file_mode = "a"


def share_log_file(config: pytest.Config) -> None:
    """Let several processes write to the file of ``--log-file``: each record in one piece, behind
    whatever is there. Other files, which a project names by itself, are opened as it wants.

    Without a file there is ``os.devnull``, which pytest closes at the end as it would the file: so
    either has a high number, which a test that closes all low ones does not meet."""
    plugin: Any = config.pluginmanager.get_plugin("logging-plugin")
    if _mode in config.stash and plugin is not None:
        config.option.log_file_mode = config.stash[_mode]
        plugin.log_file_mode = config.stash[_mode] or config.getini("log_file_mode") or "w"
    handler: Any = getattr(plugin, "log_file_handler", None)
    stream = getattr(handler, "stream", None)
    if not isinstance(stream, TextIOWrapper):
        return
    descriptor = interpreter.out_of_reach(os.dup(stream.fileno()))
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    encoding, errors, old = stream.encoding, stream.errors, stream.buffer
    TextIOWrapper.__init__(
        stream, FileIO(descriptor, "wb"), encoding=encoding, errors=errors, write_through=True
    )
    old.close()
