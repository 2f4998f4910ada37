"""The stage of ``tools/acceptance.py``, loaded into its run of pytest-xdist's own tests.

Gives them the two modules of pytest-xdist that ``test_plugin.py`` imports and that projects do not,
and writes how each test ended, as JSON lines, to the file that ``ACCEPTANCE_NOTES`` names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

from pytest_braid.options import settings_of


def check_options(config: pytest.Config) -> None:
    """What braid makes of the options, without the fork that follows."""
    settings_of(config)


def no_node_manager(*_: object, **__: object) -> NoReturn:
    """It plans execnet's gateways and rsync."""
    pytest.fail("xdist.workermanage is an internal module of pytest-xdist", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    for name, contents in (
        ("plugin", {"pytest_cmdline_main": check_options, "pytest_configure": check_options}),
        ("workermanage", {"NodeManager": no_node_manager}),
    ):
        module = sys.modules[f"xdist.{name}"] = ModuleType(f"xdist.{name}")
        vars(module).update(contents)
    config.pluginmanager.register(Notes(Path(os.environ["ACCEPTANCE_NOTES"])))


class Notes:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._worst: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        end = "marked" if report.skipped or hasattr(report, "wasxfail") else report.outcome
        if self._worst.get(report.nodeid, "passed") == "passed":
            self._worst[report.nodeid] = end

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._worst[report.nodeid] = "failed"

    def pytest_sessionfinish(self) -> None:
        with self._file as file:
            file.writelines(json.dumps(pair) + "\n" for pair in self._worst.items())
