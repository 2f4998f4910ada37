"""Schedulers that plugins bring along for pytest-xdist: what of them braid's own can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pytest_braid.model.tests import Mode

MODES = {
    Mode.LOAD: "LoadScheduling",
    Mode.WORKSTEAL: "WorkStealingScheduling",
    Mode.LOADSCOPE: "LoadScopeScheduling",
    Mode.LOADFILE: "LoadFileScheduling",
    Mode.LOADGROUP: "LoadGroupScheduling",
    Mode.EACH: "EachScheduling",
}
"""What ``-v`` calls the modes: the names of pytest-xdist's classes."""


class Foreign(NamedTuple):
    """How tests are to be spread."""

    mode: Mode
    name: str
    """Of the scheduler's class."""
    split: Callable[[str], str] | None
    """The name of the unit that a node id belongs to, if the mode does not say it."""


class Sched:
    """What ``pytest_handlecrashitem`` is given as ``sched``: of pytest-xdist's scheduler what a
    plugin can ask for there, which is to run the crashed test again."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._pending: set[str] = set()

    def mark_test_pending(self, item: str) -> None:
        """Run the test with this node id again: it has no outcome yet."""
        self._pending.add(item)

    def take_pending(self, nodeid: str) -> bool:
        """Whether it is to run again; asked once per crash."""
        is_pending = nodeid in self._pending
        self._pending.clear()
        return is_pending


class Log:
    """The ``log`` that such a hook is given: it takes what it is told, as ``log.any.name(...)``."""

    def __call__(self, *told: object) -> None:
        """Nobody reads it."""

    def __getattr__(self, name: str) -> Log:
        return self


def scheduling(config: pytest.Config, mode: Mode) -> Foreign:
    """What plugins want instead of ``mode``, if they want something else.

    Raises:
        pytest.UsageError: it is nothing that braid can do.
    """
    hook: Any = config.hook.pytest_xdist_make_scheduler
    made = hook(config=config, log=Log())
    if made is None:
        return Foreign(mode, MODES[mode], None)
    kind = type(made)
    if kind.__module__.partition(".")[0] == "xdist" and kind.__name__ == MODES[mode]:
        return Foreign(mode, kind.__name__, None)
    split = getattr(made, "_split_scope", None)  # pytest-xdist's documented point to override
    if callable(split) and kind.__name__ != MODES[Mode.LOADGROUP]:
        return Foreign(Mode.LOADSCOPE, kind.__name__, split)
    own = [known for known, name in MODES.items() if name == kind.__name__]
    if kind.__module__.partition(".")[0] == "xdist" and own and own != [Mode.LOADGROUP]:
        return Foreign(own[0], kind.__name__, None)
    place = ", ".join(impl.plugin_name for impl in hook.get_hookimpls())
    raise pytest.UsageError(
        f"pytest_xdist_make_scheduler ({place}) made a {kind.__module__}.{kind.__qualname__}, and "
        "braid runs tests with a scheduler of its own. Of another it can use the method "
        "_split_scope(nodeid), which says what must stay together in one worker: derive the class "
        "from xdist.scheduler.LoadScopeScheduling, or remove the hook and use --dist loadgroup "
        "with the mark xdist_group"
    )


def refuse_remote_modules(config: pytest.Config) -> None:
    """Raise a ``UsageError`` if a plugin has a module of its own for workers to run."""
    hook: Any = config.hook.pytest_xdist_getremotemodule
    places = ", ".join(impl.plugin_name for impl in hook.get_hookimpls())
    if places:
        raise pytest.UsageError(
            f"pytest_xdist_getremotemodule ({places}): workers of braid are copies of this process "
            "and run no module of their own. Remove the hook; what workers are to do at their "
            "start belongs into a fixture of session scope, or pytest_configure"
        )
