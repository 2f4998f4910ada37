"""The functions of pytest-xdist, for projects that import them and have braid instead.

Names and meaning are those of pytest-xdist 3.8.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "__version__",
    "get_xdist_worker_id",
    "is_xdist_controller",
    "is_xdist_master",
    "is_xdist_worker",
]

__version__ = "3.8.0"


def is_xdist_worker(request_or_session: Any) -> bool:
    """Whether this process runs tests for another."""
    return hasattr(request_or_session.config, "workerinput")


def is_xdist_controller(request_or_session: Any) -> bool:
    """Whether this process has workers run the tests."""
    config = request_or_session.config
    return not is_xdist_worker(request_or_session) and config.option.dist != "no"


is_xdist_master = is_xdist_controller


def get_xdist_worker_id(request_or_session: Any) -> str:
    """``gw0`` and so on in a worker, ``master`` elsewhere."""
    workerinput = getattr(request_or_session.config, "workerinput", None)
    return "master" if workerinput is None else str(workerinput["workerid"])
