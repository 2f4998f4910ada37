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
    stand in the text of its failures, and ``undone`` in that of its teardown's. ``runs``: its body
    does. ``limit`` is in seconds. ``alone``: it has the mark ``forked``; ``forgiven``: the mark
    ``xfail``, which means every phase.
    """

    test: str
    kind: str
    outcome: tuple[str, ...]
    words: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
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


def blamed(case: Case, fixture: Fixture) -> Case:
    """What becomes of a test in whose teardown that fixture's is. If it ends its process in it,
    nothing is told of that teardown besides."""
    if fixture.end is End.DONE:
        more = () if case.undone else ("xfailed" if case.forgiven else "error at teardown",)
        undone = (*case.undone, *fixture.words)
        return case._replace(outcome=(*case.outcome, *more), undone=undone)
    told = tuple(each for each in case.outcome if each != "error at teardown")
    if case.forgiven and case.undone:  # then it has that of the teardown, too
        told = told[:-1]
    has_failed = not {"failed", "error at setup"}.isdisjoint(told)
    return case._replace(
        outcome=(*told, "error at teardown" if has_failed else "failed"),
        words=(*case.words, *fixture.words, f"crashed while running '{case.test}'"),
        undone=(),
        end=End.CRASHED,
    )
