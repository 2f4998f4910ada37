"""The recording plugin of ``tools/differential.py``, loaded into the runs that it compares.

Writes what public hooks tell in a serial run, or in the controller, as JSON lines to the file that
``DIFFERENTIAL_RECORD`` names.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

_NO_OUTCOME = {"duration", "start", "stop", "longrepr", "id", "result"}
"""Attributes of a report that are times, or that are recorded as text."""

_RUNNERS_OWN = {"node", "worker_id", "testrun_uid", "item_index"}
"""What pytest-xdist, and braid like it, adds to reports."""

_WORKER_LINE = re.compile(r"\A\[gw\d+\] \w+ -- Python .*")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        path = Path(os.environ["DIFFERENTIAL_RECORD"])
        config.pluginmanager.register(Recorder(path), "differential-recorder")


class Recorder:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def _write(self, hook: str, **facts: Any) -> None:
        self._file.write(json.dumps({"hook": hook, **facts}, default=repr) + "\n")

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self._write("start", nodeid=nodeid, location=location)

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        self._write("finish", nodeid=nodeid, location=location)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._write("report", **_facts(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self._write("collect", **_facts(report))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._write("deselect", nodeid=item.nodeid)

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        category = warning_message.category
        self._write(
            "warning",
            text=f"{category.__module__}.{category.__qualname__}: {warning_message.message}",
            place=f"{warning_message.filename}:{warning_message.lineno}",
            when=when,
            nodeid=nodeid,
            location=location,
        )

    def pytest_internalerror(self, excrepr: object) -> None:
        self._write("internal", text=str(excrepr))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self._write(
            "end",
            status=int(exitstatus),
            failed=session.testsfailed,
            collected=session.testscollected,
            stop=[str(session.shouldstop), str(session.shouldfail)],
            items=[item.nodeid for item in getattr(session, "items", ())],
        )
        self._file.flush()

    def pytest_unconfigure(self) -> None:
        self._file.close()


def _facts(report: Any) -> dict[str, Any]:
    """A report's attributes, whatever plugins have added; keywords by name."""
    facts = {
        key: value
        for key, value in vars(report).items()
        if not key.startswith("_") and key not in _NO_OUTCOME | _RUNNERS_OWN
    }
    crash = getattr(report.longrepr, "reprcrash", None)
    return facts | {
        "type": type(report).__name__,
        "nodeid": report.nodeid,
        "keywords": sorted(map(str, getattr(report, "keywords", ()))),
        "longrepr": _WORKER_LINE.sub("", report.longreprtext).strip(),
        "crash": None if crash is None else str(crash),
    }
