"""A reporting plugin of a third party: writes what hooks tell it in a serial run, or in the
controller, as JSON lines to the file that ``E2E_RECORD`` names. It runs inside the suites."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

BRAIDS_OWN = {"node", "worker_id", "testrun_uid", "item_index"}
TIMES = {"duration", "start", "stop"}


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and "E2E_RECORD" in os.environ:
        config.pluginmanager.register(Recorder(os.environ["E2E_RECORD"]), "e2e-recorder-hooks")


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


class Recorder:
    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115, PTH123 -- until the end

    def _record(self, hook: str, **facts: Any) -> None:
        known = {key: value if _is_json(value) else repr(value) for key, value in facts.items()}
        self._file.write(json.dumps({"hook": hook, **known}) + "\n")

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        self._record("logstart", nodeid=nodeid, location=location)

    def pytest_runtest_logfinish(self, nodeid: str, location: Any) -> None:
        self._record("logfinish", nodeid=nodeid, location=location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        assert all(getattr(report, name) >= 0 for name in TIMES), report.__dict__
        facts = {
            key: value
            for key, value in report.__dict__.items()
            if not key.startswith("_") and key not in BRAIDS_OWN | {"longrepr", "id"}
        }
        facts["nodeid"] = report.nodeid
        facts["keywords"] = sorted(report.keywords)
        facts["type"] = type(report).__name__
        self._record("logreport", longrepr=str(report.longrepr), **facts)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self._record(
                "collectreport",
                nodeid=report.nodeid,
                outcome=report.outcome,
                longrepr=str(report.longrepr),
                sections=report.sections,
            )

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._record("deselected", nodeid=item.nodeid)

    def pytest_warning_recorded(
        self, warning_message: Any, when: str, nodeid: str, location: Any
    ) -> None:
        category = warning_message.category
        self._record(
            "warning",
            text=str(warning_message.message),
            category=category.__name__,
            module=category.__module__,
            file=warning_message.filename,
            line=warning_message.lineno,
            when=when,
            nodeid=nodeid,
            location=location,
        )

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._record("internalerror", text=str(excrepr))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._record("interrupt", kind=excinfo.typename, text=str(excinfo.value))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self._record(
            "sessionfinish",
            exitstatus=int(exitstatus),
            failed=session.testsfailed,
            collected=session.testscollected,
            shouldstop=str(session.shouldstop),
            shouldfail=str(session.shouldfail),
        )
        self._file.flush()

    def pytest_unconfigure(self) -> None:
        self._file.close()
