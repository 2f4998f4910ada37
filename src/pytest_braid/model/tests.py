"""What the scheduler needs to know of a test and of the run."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pytest_braid.model.needs import PLAIN, Needs


class TestSpec(msgspec.Struct, frozen=True, gc=False):
    """One collected test, as the scheduler sees it.

    ``index`` is the test's place in the collection and its identity everywhere in braid: node
    ids may repeat, indices do not. ``unit`` names the tests that stay together where the mode is
    one of units; a test without it is a unit of its own. A test with ``own_process`` (mark
    ``forked``) runs in a fresh worker that runs nothing else; it leaves its unit (unless
    ``with_unit``: then the process is the unit's, in any mode), and comes before all tests that
    share their workers. ``needs`` is what it must have while it runs. ``fixtures`` are the numbers
    of the instances (``Estimates.instances``) that it shares with others; ``shares`` those of
    fixtures of the whole run, without which it does not begin. A test that steps ``aside`` runs
    when no other of its worker does.
    """

    __test__ = False  # not a test class, whatever its name says to pytest

    index: int
    nodeid: str
    unit: str | None = None
    own_process: bool = False
    needs: Needs = PLAIN
    with_unit: bool = False
    fixtures: tuple[int, ...] = ()
    shares: tuple[int, ...] = ()
    aside: bool = False


class Mode(StrEnum):
    """How tests are spread over workers; the words of ``--dist`` (pytest-xdist).

    In all but the first two, tests of a unit run in one worker and in the order of the collection.
    What makes a unit (a class or module, a file, a mark ``xdist_group``) is not decided here.
    """

    LOAD = "load"
    WORKSTEAL = "worksteal"
    LOADSCOPE = "loadscope"
    LOADFILE = "loadfile"
    LOADGROUP = "loadgroup"
    EACH = "each"
    """Every worker has a unit, a copy of the collection, that no other runs."""

    @property
    def by_unit(self) -> bool:
        """Whether units stay together."""
        return self not in (Mode.LOAD, Mode.WORKSTEAL)


class SchedulerSettings(msgspec.Struct, frozen=True):
    """The parameters of one run.

    ``workers`` is the number of slots, at least 1. ``max_restarts`` is how many crashed workers
    may be replaced in the whole run, ``None`` for any number (``--max-worker-restart``). In mode
    ``each`` there are as many slots as units, whatever ``workers`` says.

    ``reorder``: units are begun in the order of their sizes, the largest first, and not of the
    collection (``--loadscope-reorder``; it means all modes of units but ``each``). ``max_chunk``
    is the largest number of tests handed out at once in mode ``load`` (``--maxschedchunk``).
    ``is_cautious``: in mode ``load`` a worker is given its next test when it asks, unless tests are
    so short that the answer would take a good part of their time (``-x``).

    ``max_tests_per_worker``, at least 1, is how many tests a worker is given before another takes
    over its slot (``--max-tests-per-worker``, 1 for ``--forked``). A unit is split only where it
    has more tests than that, and then over successive workers of one slot.

    ``resources`` are pairs of a name and how many there are, where that is not one
    (``braid_resources``). ``tells_waits``: what a test waits for is told (``--braid-explain``).

    ``strands``, at least 1, is how many tests a worker runs at once (``--threads``).

    ``most_workers``: there may be as many, while tests wait and cores are idle (``-n adaptive``).

    ``keeps_order``: tests begin in the order of the collection, however long they take (``--ff``, a
    project that orders its tests). Of these the ``first`` so many come before all others, whatever
    worker runs them (what failed last time).
    """

    workers: int
    mode: Mode = Mode.LOAD
    max_restarts: int | None = None
    reorder: bool = True
    max_chunk: int | None = None
    is_cautious: bool = False
    max_tests_per_worker: int | None = None
    resources: tuple[tuple[str, int], ...] = ()
    tells_waits: bool = False
    strands: int = 1
    keeps_order: bool = False
    first: int = 0
    most_workers: int | None = None
