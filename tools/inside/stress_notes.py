"""What the fixtures and tests of the stress suite do, and what is noted of them.

Loaded as a plugin into every process of the run. Notes and reports are lines of JSON, each written
in one call to a file that is open for appending, in the folder that ``STRESS_FOLDER`` names.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(os.environ["STRESS_FOLDER"])
_PLANNED = re.compile(r"planned: <[^>{]*>")
_running: set[str] = set()
"""Tests that are in pytest's protocol in this process."""


def _append(name: str, **facts: Any) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    file = os.open(_FOLDER / name, flags, 0o666)
    os.write(file, json.dumps(facts).encode() + b"\n")
    os.close(file)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Count the tests that run."""
    _running.add(item.nodeid)
    try:
        return (yield)
    finally:
        _running.discard(item.nodeid)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reports())


class _Reports:
    """Writes down what is reported where the user sees it."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _append(
            "reports.jsonl",
            nodeid=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            expected=hasattr(report, "wasxfail"),
            planned=sorted(set(_PLANNED.findall(report.longreprtext))),
            sections=report.sections,
        )


class Value:
    """What a fixture gives: it knows whether it is still set up."""

    def __init__(self, key: str, parameters: dict[str, int], needs: list[Value]) -> None:
        self.key = key
        self.parameters = parameters
        self.needs = needs
        self.is_up = True

    def check(self, user: str) -> None:
        """It, and all that it was made from, must be set up."""
        assert self.is_up, f"{self.key} is torn down while {user} uses it"
        for need in self.needs:
            need.check(self.key)


def fixture(
    request: pytest.FixtureRequest, needs: list[Value], sleep: float, end: str
) -> Iterator[Value]:
    """Set up and tear down a fixture; ``end``: how it fails, if it does."""
    parameters = {name: value for need in needs for name, value in need.parameters.items()}
    if hasattr(request, "param"):
        parameters[str(request.fixturename)] = request.param
    key = f"{request.scope} {request.fixturename} of {request.node.nodeid}"
    key += "".join(f" {name}={parameters[name]}" for name in sorted(parameters))
    _append("notes.jsonl", what="up", key=key)
    for need in needs:
        need.check(key)
    print(f"<{key}> up")
    time.sleep(sleep)
    if end == "fails":
        pytest.fail(f"planned: <{key}>")
    if end == "skips":
        pytest.skip(f"planned: <{key}>")
    value = Value(key, parameters, needs)
    yield value
    value.check("its teardown")
    value.is_up = False
    print(f"<{key}> down")
    _append("notes.jsonl", what="down", key=key)
    if end == "fails later":
        pytest.fail(f"planned: <{key}>")


def body(name: str, values: list[Value], sleep: float, end: str, *, alone: bool = False) -> None:
    """Run a test: print, log and wait, with all fixtures set up, in a thread of its own too."""
    assert not alone or len(_running) == 1, f"{name} runs beside {_running}"

    def say(line: int) -> None:
        print(f"<{name}> prints {line}")
        sys.stderr.write(f"<{name}> complains {line}\n")
        logging.getLogger("stress").warning("<%s> logs %d", name, line)

    for line in range(3):
        say(line)
        time.sleep(sleep / 3)
        for value in values:
            value.check(name)
    thread = threading.Thread(target=say, args=[3])
    thread.start()
    thread.join()
    assert not alone or len(_running) == 1, f"{name} runs beside {_running}"
    if end == "fails":
        pytest.fail(f"planned: <{name}>")
    if end == "skips":
        pytest.skip(f"planned: <{name}>")
    if end == "xfails":
        pytest.xfail(f"planned: <{name}>")
