"""What the marks of a test say to the controller."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import pytest

from pytest_braid.model.holders import ANY, ATTRIBUTE, Mark
from pytest_braid.model.needs import PLAIN, Hold, Needs
from pytest_braid.seam import fixtures as fixture_seam
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.worker.timeouts import timeout_of
from pytest_braid.worker.uses import NOTHING, Uses

nests_key = pytest.StashKey[bool]()
"""Whether tests may run inside of others (those of pytest-threaded, in ``test_all``)."""

_NEEDY = {"alone", "resource_lock", "cpus"}
"""Marks of what a test needs besides a worker."""


def _group(item: pytest.Item) -> str | None:
    """The names of its marks ``xdist_group`` and ``mp_group``, joined as by pytest-xdist."""
    names = {
        str(mark.args[0] if mark.args else mark.kwargs.get("name", "default"))
        for mark in item.iter_markers("xdist_group")
    }
    mp = _mp_group(item) if item.get_closest_marker("mp_group") is not None else None
    if mp is not None:
        names.add(mp[0])
    return "_".join(sorted(names)) or None


def _mp_group(item: pytest.Item) -> tuple[str, str] | None:
    mark = item.get_closest_marker("mp_group_info")
    return None if mark is None else (mark.kwargs["group"], mark.kwargs["strategy"])


def _needs(item: pytest.Item, names: frozenset[str], number: int) -> Needs:
    """What its marks ``alone``, ``resource_lock`` and ``cpus`` ask for.

    Raises:
        pytest.UsageError: one of them asks for what there cannot be.
    """
    return Needs(
        holds=_holds(item),
        cpus=_cpus(item),
        circle=f"alone: {number}" if "alone" in names else None,
    )


def _holds(item: pytest.Item) -> tuple[Hold, ...]:
    """One for each name: the strongest."""
    holds: dict[str, Hold] = {}
    for mark in item.iter_markers("resource_lock"):
        try:
            hold = _hold(*mark.args, **mark.kwargs)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(
                f"{item.nodeid}: its mark resource_lock is wrong: {error}: write "
                '@pytest.mark.resource_lock("db"), with mode="read" for tests that may run beside '
                "each other, or slots=2 for two of those that the ini option braid_resources counts"
            ) from None
        other = holds.get(hold.name, hold)
        holds[hold.name] = Hold(
            hold.name, max(hold.slots, other.slots), hold.is_shared and other.is_shared
        )
    return tuple(holds[name] for name in sorted(holds))


def _hold(name: object, mode: object = "write", slots: object = 1) -> Hold:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{name!r} is no name")
    if mode not in ("read", "write"):
        raise ValueError(f"mode {mode!r} is neither 'read' nor 'write'")
    if not _is_count(slots):
        raise ValueError(f"slots {slots!r} is not a whole number of 1 or more")
    if mode == "read" and slots != 1:
        raise ValueError("slots are counted of tests that write, and mode is 'read'")
    return Hold(name, slots, mode == "read")


def _cpus(item: pytest.Item) -> int:
    mark = item.get_closest_marker("cpus")
    if mark is None:
        return 1
    value = mark.args[0] if len(mark.args) == 1 else mark.kwargs.get("n")
    if not _is_count(value):
        raise pytest.UsageError(
            f"{item.nodeid}: its mark cpus does not say a whole number of 1 or more, but "
            f"{value!r}: write @pytest.mark.cpus(2)"
        )
    return value


def _uses(item: pytest.Item) -> tuple[str, ...]:
    """The fixtures that it may ask for whose values processes have in common. A function that has
    ``request`` may ask for any, by name; those of pytest itself, and ours, do not."""
    return tuple(sorted(set(_used(item))))


def _used(item: pytest.Item) -> Iterator[str]:
    if "request" in fixture_seam.asked_by(item):
        yield ANY
    for definition in fixture_seam.closure(item):
        mark: Mark | None = getattr(definition.func, ATTRIBUTE, None)
        if mark is not None:
            yield mark.fixture
        asks = "request" in definition.argnames if mark is None else mark.asks
        module = getattr(definition.func, "__module__", None) or ""
        if asks and not session_seam.is_own(module) and not module.startswith("pytest_braid."):
            yield ANY


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


class Teller:
    """Says of the collected tests what the controller is to know. Most have none of the marks that
    matter, and of each collector that is found out once."""

    def __init__(self, config: pytest.Config) -> None:
        self._is_by_group: bool = config.option.loadgroup
        self._has_timeouts = not session_seam.has_pytest_timeout(config)
        threads, tasks = at_once(config)
        self._aside = _finder_of_reasons(threads, tasks) if threads + tasks else lambda _item: None
        has_shared = "pytest_braid.compat.shared_session_scope" in sys.modules
        self._uses = _uses if has_shared else lambda _item: ()
        self._count = 0
        self._inherited: dict[pytest.Collector | None, frozenset[str]] = {None: frozenset()}

    def test(
        self, item: pytest.Item, uses: Uses = NOTHING, fixtures: tuple[int, ...] = ()
    ) -> m.Test:
        names = self._names(item.parent).union(mark.name for mark in item.own_markers)
        self._count += 1
        return m.Test(
            item.nodeid,
            item.location,
            own_process="forked" in names,
            group=_group(item) if self._is_by_group else None,
            timeout=timeout_of(item) if self._has_timeouts and "timeout" in names else None,
            needs=_needs(item, names, self._count) if names & _NEEDY else PLAIN,
            aside=self._aside(item),
            mp=_mp_group(item) if "mp_group_info" in names else None,
            fixtures=fixtures,
            shares=uses.shares,
            may_ask=uses.may_ask,
            uses=self._uses(item),
        )

    def _names(self, node: Any) -> frozenset[str]:
        """Of the marks that a collector gives to all below it."""
        if node not in self._inherited:
            own = (mark.name for mark in node.own_markers)
            self._inherited[node] = self._names(node.parent).union(own)
        return self._inherited[node]


def at_once(config: pytest.Config) -> tuple[int, int]:
    """How many tests this worker is to run at once: in threads, and as tasks."""
    workerinput: dict[str, int] = config.workerinput  # type: ignore[attr-defined]
    threads, tasks = workerinput.get("threads", 0), workerinput.get("tasks", 0)
    if not tasks and config.pluginmanager.hasplugin("braid-cooperative"):
        from pytest_braid.worker.asyncs import only_marked

        config.stash[only_marked], tasks = True, 1
    return threads, tasks


def _finder_of_reasons(threads: int, tasks: int) -> Callable[[pytest.Item], str | None]:
    """Imported where tests run at once, and nowhere else; and with it, before workers are forked,
    what each of them needs for that."""
    import pytest_braid.worker.threads
    from pytest_braid.worker.aside import reason_for

    if tasks:
        import pytest_braid.worker.tasks  # noqa: F401

    return reason_for(threads, tasks)
