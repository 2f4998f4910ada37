"""pytest-rerunfailures, whose workers keep its counts in the controller, each over a connection.

A worker connects while it configures itself, which here is before it is forked, and copies would
all talk over the one connection. So it is closed after the collection, and each makes its own.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Any

import pytest


def tell_of_hooks() -> None:
    """It asks for ``xdist.newhooks`` while it is imported, and remembers the answer: a wrong one,
    if it was loaded before braid, which only then answers to the name."""
    module: Any = sys.modules.get("pytest_rerunfailures")
    if getattr(module, "HAS_PYTEST_HANDLECRASHITEM", None) is False:
        module.HAS_PYTEST_HANDLECRASHITEM = True


class Reconnecting:
    """Registered where it is loaded; does nothing in the controller."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        connection = _connection(session.config)
        if connection is not None:
            connection.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_braid_worker_started(self, config: Any) -> None:
        if _connection(config) is not None:
            given = config.workerinput
            kind = for_threads(type(config.failures_db))
            config.failures_db = kind(given["sock_port"], given["statusdb_token"])


def for_threads(kind: Any) -> Any:
    """A client that sends one question at a time, and so gets the answer to it."""
    lock = threading.RLock()

    def locked(method: Any) -> Any:
        def call(self: Any, *args: Any) -> Any:
            with lock:
                return method(self, *args)

        return call

    asking = [name for name in _ASKING if hasattr(kind, name)]
    return type(kind.__name__, (kind,), {name: locked(getattr(kind, name)) for name in asking})


_ASKING = (
    "_get",
    "_set",
    "increment_suite_reruns",
    "try_increment_suite_reruns",
    "decrement_suite_reruns",
)


def _connection(config: Any) -> socket.socket | None:
    """A worker's, if the plugin is of a kind that is known here."""
    found = getattr(getattr(config, "failures_db", None), "sock", None)
    is_known = {"sock_port", "statusdb_token"} <= getattr(config, "workerinput", {}).keys()
    return found if is_known and isinstance(found, socket.socket) else None
