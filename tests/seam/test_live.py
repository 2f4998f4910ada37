"""pytest's logging plugin in processes that share its file, and its live log without a terminal."""

from __future__ import annotations

import logging
import os
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.logging import (  # noqa: TID251 -- what the seam is about
    ColoredLevelFormatter,
    _FileHandler,
    _LiveLoggingStreamHandler,
)

from pytest_braid.seam import live


def like(**plugins: Any) -> Any:
    """A config with these plugins; names are given with ``_`` for ``-``."""
    known = {name.replace("_", "-"): plugin for name, plugin in plugins.items()}
    return SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin=known.get),
        option=SimpleNamespace(log_file_mode=None),
        stash=pytest.Stash(),
        getini={"log_file_mode": "w"}.__getitem__,
    )


def record(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "levelname": "INFO"})


def test_two_processes_that_have_emptied_a_file_write_behind_each_other(tmp_path: Path) -> None:
    file = tmp_path / "log"
    plugins = [
        SimpleNamespace(log_file_handler=_FileHandler(file, mode="w", encoding="UTF-8"))
        for _ in range(2)
    ]
    for plugin in plugins:
        live.share_log_file(like(logging_plugin=plugin))
    for text in ("one", "two", "three \u2603"):
        for plugin in plugins:
            plugin.log_file_handler.emit(record(text))
    assert file.read_text("utf-8").split("\n") == [
        *("one", "one", "two", "two", "three \u2603", "three \u2603", "")
    ]
    for plugin in plugins:
        plugin.log_file_handler.close()


def test_a_record_is_written_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []

    class Counting(FileIO):
        def write(self, data: Any) -> int:
            writes.append(len(data))
            return super().write(data)

    monkeypatch.setattr(live, "FileIO", Counting)
    handler = _FileHandler(tmp_path / "log", mode="w", encoding="UTF-8")
    live.share_log_file(like(logging_plugin=SimpleNamespace(log_file_handler=handler)))
    handler.emit(record("x" * 100_000))
    handler.close()
    assert writes == [100_001]


def test_who_empties_the_file_is_the_controller_alone() -> None:
    plugin = SimpleNamespace(log_file_handler=None, log_file_mode="a")
    config = like(logging_plugin=plugin)
    live.open_log_file_behind(config)
    assert config.option.log_file_mode == "a"
    live.share_log_file(config)
    assert config.option.log_file_mode is None
    assert plugin.log_file_mode == "w"


def live_log(descriptor: int) -> _LiveLoggingStreamHandler:
    """A handler whose records go to a descriptor, each in one piece."""
    reporter: Any = SimpleNamespace(
        config=SimpleNamespace(option=SimpleNamespace(color="no", code_highlight="no")),
        _tw=SimpleNamespace(hasmarkup=False, fullwidth=40),
    )
    handler = _LiveLoggingStreamHandler(reporter, None)
    live.log_to(like(logging_plugin=SimpleNamespace(log_cli_handler=handler)), descriptor)
    return handler


def test_a_live_record_comes_with_its_title_and_in_one_piece() -> None:
    reading, writing = os.pipe2(os.O_DIRECT)
    handler = live_log(writing)
    handler.set_when("call")
    handler.emit(record("said"))
    title, line, rest = os.read(reading, 1 << 16).decode().split("\n")
    assert (title.strip("-"), line, rest) == (" live log call ", "said", "")
    handler.emit(record("more"))
    assert os.read(reading, 1 << 16) == b"more\n"
    os.close(reading)
    os.close(writing)


def test_a_live_log_that_moves_closes_what_it_had() -> None:
    (reading, writing), (_, other) = os.pipe(), os.pipe()
    handler = live_log(other)
    live.log_to(like(logging_plugin=SimpleNamespace(log_cli_handler=handler)), writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)
    handler.emit(record("said"))
    assert os.read(reading, 100) == b"said\n"
    os.close(reading)
    os.close(writing)
    os.close(_)


def test_levels_have_the_colours_of_the_terminal() -> None:
    from _pytest._io import TerminalWriter  # noqa: TID251 -- what the seam is about

    formatter = ColoredLevelFormatter(TerminalWriter(), "%(levelname)s %(message)s")
    assert formatter.format(record("said")) == "INFO said"
    live.colour_logs(like(logging_plugin=SimpleNamespace(formatter=formatter)))
    assert formatter.format(record("said")) == "\x1b[32mINFO\x1b[0m said"


def test_without_the_logging_plugin_nothing_is_done() -> None:
    config = like()
    del config.option.log_file_mode
    live.open_log_file_behind(config)
    live.share_log_file(config)
    live.colour_logs(config)
    live.log_to(config, 1)
