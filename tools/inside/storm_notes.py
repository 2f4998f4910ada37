"""What the tests of a fault storm do that takes more than a line, and what they note of themselves.

Loaded as a plugin into every process of the run. A note is a line of JSON, written in one call to
the file that ``STORM_NOTES`` names; each is opened anew, for tests here close every descriptor.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Generator
from typing import Any

import pytest

_FILE = os.environ["STORM_NOTES"]
_test = ""


def note(what: str, **facts: Any) -> None:
    """Write down what happens, in which process and in which test."""
    facts = {"note": what, "pid": os.getpid(), "test": _test, "at": time.monotonic(), **facts}
    file = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, json.dumps(facts).encode() + b"\n")
    os.close(file)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note that a test begins and ends."""
    global _test  # noqa: PLW0603 -- a process runs one test at a time
    _test = item.nodeid
    note("begin")
    answer = yield
    note("end")
    return answer


def leave_child(*, detached: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that nobody waits for; ``detached``: not in the worker's group."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=detached)  # noqa: S607
    note("child", child=child.pid, detached=detached)
    return child


def leave_copy() -> None:
    """Leave a fork of the worker, with all that it holds open."""
    child = os.fork()
    while not child:
        signal.pause()
    note("child", child=child, detached=False)
