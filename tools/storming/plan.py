"""What a storm's run is to show: values that the suite's maker writes and the checker reads."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class End(StrEnum):
    """How the process of a test, or of a fixture's teardown, fares."""

    DONE = "done"
    CRASHED = "crashed"
    OVERDUE = "overdue"


class Case(NamedTuple):
    """One test.

    ``outcome``: what is reported, in order, in the words of the terminal (``passed``, ``failed``,
    ``skipped``, ``xfailed``, ``xpassed``, ``error at setup``, ``error at teardown``); ``words``
    stand in the text of its failures. ``runs``: its body does. ``limit`` is in seconds. ``alone``:
    it has the mark ``forked``; ``forgiven``: the mark ``xfail``, which means every phase.
    """

    test: str
    kind: str
    outcome: tuple[str, ...]
    words: tuple[str, ...] = ()
    end: End = End.DONE
    runs: bool = True
    limit: float | None = None
    alone: bool = False
    forgiven: bool = False


class Fixture(NamedTuple):
    """A fixture of a wider scope whose teardown fails: which test is blamed, chance decides."""

    name: str
    end: End
    words: tuple[str, ...]


class Plan(NamedTuple):
    """One run. ``most`` is how many tests a worker may run."""

    seed: int
    options: tuple[str, ...]
    workers: int
    most: int | None
    cases: tuple[Case, ...]
    fixtures: tuple[Fixture, ...]


_LOST_IN_TEARDOWN = {"passed", "skipped", "xfailed", "xpassed"}
"""Outcomes that are not told before the test is over: who ends its process has failed."""


def blamed(case: Case, fixture: Fixture) -> Case:
    """What becomes of a test in whose teardown that fixture's is."""
    words = (*case.words, *fixture.words)
    told = tuple(each for each in case.outcome if each != "error at teardown")
    if fixture.end is End.DONE:
        return case._replace(outcome=(*told, _unmended(case)), words=words)
    told = tuple(each for each in told if each not in _LOST_IN_TEARDOWN)
    return case._replace(
        outcome=(*told, "error at teardown") if told else ("failed",),
        words=(*words, f"crashed while running '{case.test}'"),
        end=End.CRASHED,
    )


def _unmended(case: Case) -> str:
    """What a failing teardown is called."""
    return "xfailed" if case.forgiven else "error at teardown"
