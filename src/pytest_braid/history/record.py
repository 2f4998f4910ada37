"""What is remembered of tests and fixtures, and how a run changes it.

Every number is a mean in which the latest runs count most: a test that was made faster is known to
be faster after a few runs, and one slow run on a busy machine does little harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

VERSION = 1
"""Of the file's format."""

LATEST = 0.3
"""Weight of the latest run in a mean, as soon as there are enough runs."""

MOST_MISSED = 20
"""Collections of its file without a test, after which it is taken to be renamed or removed."""

OLDEST = 90
"""Days after which a test, or a fixture, that no run has seen is forgotten."""


class TestRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One test. ``setup``, ``call`` and ``teardown`` are in seconds, without the setup of fixtures
    that it shares with others.

    ``waits`` is the share of its time in which it did not compute, from 0 to 1. ``memory`` is by
    how many bytes it has made the peak of its worker's memory grow. ``runs`` counts the runs that
    make up the means; ``missed`` the collections of its whole file, since, that did not find
    it; ``day`` is that of the latest run, counted from the epoch.
    """

    __test__ = False

    setup: float = 0.0
    call: float = 0.0
    teardown: float = 0.0
    waits: float | None = None
    memory: int = 0
    runs: int = 1
    missed: int = 0
    day: int = 0

    @property
    def duration(self) -> float:
        """Seconds in all."""
        return self.setup + self.call + self.teardown


class FixtureRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One fixture that tests share, with one parameter: the seconds of its setup."""

    setup: float
    runs: int = 1
    day: int = 0


class History(msgspec.Struct, frozen=True):
    """Of tests by their node ids, and of fixtures by ``place::name``, or ``place::name[2]`` for the
    third parameter. ``braid`` is the version of the format."""

    tests: dict[str, TestRecord] = {}
    fixtures: dict[str, FixtureRecord] = {}
    braid: int = VERSION


def after_run(
    known: History, run: History, unsure: Iterable[str], day: int, collected: Iterable[str] = ()
) -> History:
    """What is known after a run of which ``run`` tells. ``unsure`` are its tests that have not
    passed, whose durations say little: they count only where nothing else is known. ``collected``
    are the node ids of all that is in the files of the run; none if only a part was asked for."""
    unsure = {*unsure}
    tests = dict(_still_there(known, run, day, {*collected}))
    for nodeid, new in run.tests.items():
        old = tests.get(nodeid)
        if old is None:
            tests[nodeid] = msgspec.structs.replace(new, day=day)
        elif nodeid in unsure:
            tests[nodeid] = msgspec.structs.replace(old, missed=0, day=day)
        else:
            tests[nodeid] = _mean(old, new, _weight(old.runs), day)
    return History(tests, _fixtures(known, run, day))


def merged(one: History, other: History) -> History:
    """Of two histories that know nothing of each other: of the same suite on two machines."""
    tests = dict(one.tests)
    for nodeid, theirs in other.tests.items():
        ours = tests.get(nodeid)
        if ours is None:
            tests[nodeid] = theirs
        else:
            share = theirs.runs / (ours.runs + theirs.runs)
            tests[nodeid] = _mean(ours, theirs, share, max(ours.day, theirs.day))
    fixtures = dict(one.fixtures)
    for name, cost in other.fixtures.items():
        mine = fixtures.get(name)
        if mine is None:
            fixtures[name] = cost
        else:
            share = cost.runs / (mine.runs + cost.runs)
            fixtures[name] = FixtureRecord(
                _between(mine.setup, cost.setup, share),
                mine.runs + cost.runs,
                max(mine.day, cost.day),
            )
    return History(tests, fixtures)


def _weight(runs: int) -> float:
    return max(LATEST, 1 / (runs + 1))


def _between(old: float, new: float, weight: float) -> float:
    return round(old + weight * (new - old), 6)


def _mean(old: TestRecord, new: TestRecord, weight: float, day: int) -> TestRecord:
    waits = new.waits if old.waits is None else old.waits
    if old.waits is not None and new.waits is not None:
        waits = _between(old.waits, new.waits, weight)
    return TestRecord(
        _between(old.setup, new.setup, weight),
        _between(old.call, new.call, weight),
        _between(old.teardown, new.teardown, weight),
        waits,
        round(_between(old.memory, new.memory, weight)),
        old.runs + new.runs,
        day=day,
    )


def _still_there(
    known: History, run: History, day: int, collected: Collection[str]
) -> Iterable[tuple[str, TestRecord]]:
    """Tests known before, without those that are taken to be gone."""
    files = {_file(nodeid) for nodeid in collected}
    for nodeid, record in known.tests.items():
        kept = record
        if nodeid in collected or nodeid in run.tests:
            if record.missed:
                kept = msgspec.structs.replace(record, missed=0)
        elif _file(nodeid) in files:
            kept = msgspec.structs.replace(record, missed=record.missed + 1)
        if kept.missed < MOST_MISSED and day - kept.day <= OLDEST:
            yield nodeid, kept


def _fixtures(known: History, run: History, day: int) -> dict[str, FixtureRecord]:
    fixtures = {name: cost for name, cost in known.fixtures.items() if day - cost.day <= OLDEST}
    for name, new in run.fixtures.items():
        old = fixtures.get(name)
        setup = new.setup if old is None else _between(old.setup, new.setup, _weight(old.runs))
        fixtures[name] = FixtureRecord(setup, 1 if old is None else old.runs + 1, day)
    return fixtures


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
