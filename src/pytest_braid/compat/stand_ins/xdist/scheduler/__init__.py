"""What hooks for ``pytest_xdist_make_scheduler`` build on: names of pytest-xdist 3.8.

braid's own scheduler does the work. Of what such a hook returns it uses the class's name and the
method ``_split_scope``, which says to which group of tests a node id belongs.
"""

from __future__ import annotations

from typing import Any


class _Scheduling:
    def __init__(self, config: Any, log: Any = None) -> None:
        self.config = config
        self.log = log


class EachScheduling(_Scheduling):
    """As ``--dist each``."""


class LoadScheduling(_Scheduling):
    """As ``--dist load``."""


class WorkStealingScheduling(_Scheduling):
    """As ``--dist worksteal``."""


class LoadScopeScheduling(_Scheduling):
    """As ``--dist loadscope``, unless a subclass says otherwise."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.rsplit("::", 1)[0]


class LoadFileScheduling(LoadScopeScheduling):
    """As ``--dist loadfile``."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0]
