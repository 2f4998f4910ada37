"""pytest's junit file, as far as tests write to it: in a worker, for the controller's file.

``record_testsuite_property``, ``record_xml_attribute`` and a warning of ``record_property`` look
for the session's ``LogXML``. pytest makes none in a worker, and what they record would be lost
(pytest issue 7767).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from _pytest.junitxml import LogXML, xml_key

if TYPE_CHECKING:
    import pytest

Property = tuple[str, str, int]
"""A property of the whole run: name, value, and which time it is that this worker records it."""


_TOLD = "braid_told"


class Notes(LogXML):
    """A worker's ``LogXML``: it takes notes and writes no file, for it implements no hook.

    pluggy finds hooks with ``dir``.
    """

    _taken = 0

    def __dir__(self) -> list[str]:
        return []

    def take_attributes(self, nodeid: str) -> dict[str, str]:
        """What this test has recorded of itself since this was last asked. Others may run."""
        if not nodeid or not self.node_reporters:
            return {}
        reporter: Any = self.node_reporter(nodeid)
        every = {str(name): str(value) for name, value in reporter.attrs.items()}
        told: dict[str, str] = vars(reporter).setdefault(_TOLD, {})
        new = dict(every.items() - told.items())
        told.update(new)
        return new

    def forget_test(self, nodeid: str) -> None:
        if not nodeid or not self.node_reporters:
            return
        reporter = self.node_reporter(nodeid)
        self.node_reporters_ordered.remove(reporter)
        # pytest's keys are of other types in every version.
        key = next(key for key, found in self.node_reporters.items() if found is reporter)
        del self.node_reporters[key]

    def take_properties(self) -> tuple[Property, ...]:
        """What has been recorded of the whole run since this was last asked."""
        every, first = self.global_properties, self._taken
        self._taken = len(every)
        return tuple((*every[n], every[: n + 1].count(every[n])) for n in range(first, len(every)))


def take_notes(config: pytest.Config) -> None:
    """Let a worker's tests record what they would in the process that writes the file."""
    if not getattr(config.option, "xmlpath", None) or config.stash.get(xml_key, None) is not None:
        return
    config.stash[xml_key] = Notes(
        config.option.xmlpath,
        config.option.junitprefix,
        family=config.getini("junit_family"),
    )
    config.pluginmanager.register(config.stash[xml_key])  # pytest unregisters it


def notes(config: pytest.Config) -> Notes | None:
    found = config.stash.get(xml_key, None)
    return found if isinstance(found, Notes) else None


def add_attributes(config: pytest.Config, report: Any, attributes: dict[str, str]) -> None:
    """Add attributes to the test case that ``report``, of any phase, is of."""
    log = config.stash.get(xml_key, None)
    if log is not None:
        log.node_reporter(report).attrs.update(attributes)


class Place(NamedTuple):
    """When something was recorded: the number of the test, the highest one that its worker had run
    until then, and whether in its teardown."""

    test: int
    highest: int
    in_teardown: bool


def add_properties(config: pytest.Config, recorded: Sequence[tuple[Place, Property]]) -> None:
    """Add properties of the whole run, in the order in which a serial run would have recorded them.

    What several workers recorded, because a session fixture ran in each, is there as often as in
    the one that recorded it most: where the first has set it up, or the last has torn it down. That
    is behind all that it has run, though it may have run the last ones first.
    """
    log = config.stash.get(xml_key, None)
    if log is None:
        return
    places: dict[Property, list[Place]] = {}
    for place, each in recorded:
        places.setdefault(each, []).append(place)
    kept = [(_serially(found), each) for each, found in places.items()]
    log.global_properties += [
        (name, value) for _, (name, value, _) in sorted(kept, key=lambda pair: pair[0])
    ]


def _serially(found: Sequence[Place]) -> tuple[int, bool]:
    """When a serial run would have recorded it, in the order of its tests."""
    if len(found) > 1 and all(place.in_teardown for place in found):
        return max(max(place.test, place.highest) for place in found), True
    first = min(found)
    return first.test, first.in_teardown
