"""What the scheduler is told of the tests: in each mode, which of them make up a unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_braid.model.tests import Mode, TestSpec
from pytest_braid.wire import messages as m


def specs_of(
    tests: Sequence[m.Test],
    mode: Mode,
    workers: int,
    split: Callable[[str], str] | None = None,
) -> list[TestSpec]:
    """One spec for each time that a test is to run.

    In mode ``each`` that is once in each of ``workers`` copies of the collection: of ``n`` tests,
    spec ``w * n + i`` is test ``i`` in copy ``w``. Otherwise spec ``i`` is test ``i``. ``split``
    names the unit of a node id, in a mode of units, instead of the mode.
    """
    if mode is Mode.EACH:
        return [
            TestSpec(copy * len(tests) + index, test.nodeid, f"each-{copy}", test.own_process)
            for copy in range(workers)
            for index, test in enumerate(tests)
        ]
    if not mode.by_unit:
        return [
            TestSpec(index, test.nodeid, own_process=test.own_process)
            for index, test in enumerate(tests)
        ]
    return [
        TestSpec(
            index,
            test.nodeid,
            split(test.nodeid) if split else unit_of(test, mode),
            test.own_process,
        )
        for index, test in enumerate(tests)
    ]


def unit_of(test: m.Test, mode: Mode) -> str | None:
    """The name of the test's unit; ``None`` if it is one of its own.

    As in pytest-xdist, but that ``::`` among a test's parameters (``test_1[a::b]``) does not make
    it a scope of its own.
    """
    file, _, rest = test.nodeid.partition("::")
    match mode:
        case Mode.LOADSCOPE:
            return f"{file}::{rest.partition('[')[0]}".rpartition("::")[0]
        case Mode.LOADFILE:
            return file
        case _:
            return test.group
