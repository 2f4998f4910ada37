"""Loaded into a run of any suite: notes the node ids of its async tests, one a line, in the file
that ``ASYNC_NOTES`` names. Also of those that another loop than asyncio's runs, and of those whose
functions are wrapped.

``ASYNC_SHARED`` are files whose tests share something that only one of them can have, as JSON: a
list.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import pytest


def _is_async(function: Any) -> bool:
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "resource_lock(name): one at a time.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    shared = json.loads(os.environ.get("ASYNC_SHARED", "[]"))
    for item in items:
        for file in shared:
            if item.nodeid.startswith(file):
                item.add_marker(pytest.mark.resource_lock(file))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    found = [item.nodeid for item in session.items if _is_async(getattr(item, "obj", None))]
    Path(os.environ["ASYNC_NOTES"]).write_text("".join(f"{it}\n" for it in found), encoding="utf-8")
