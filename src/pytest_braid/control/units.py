"""What the scheduler is told of the tests: in each mode, which of them make up a unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from pytest_braid.model.needs import Needs
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
            TestSpec(
                copy * len(tests) + index,
                test.nodeid,
                f"each-{copy}",
                test.own_process,
                _of_copy(test.needs, copy),
                shares=test.shares,
                fixtures=test.fixtures,
            )
            for copy in range(workers)
            for index, test in enumerate(tests)
        ]
    if not mode.by_unit:
        return [
            TestSpec(
                index,
                test.nodeid,
                own_process=test.own_process,
                needs=test.needs,
                shares=test.shares,
                fixtures=test.fixtures,
                aside=test.aside is not None,
            )
            for index, test in enumerate(tests)
        ]
    return [
        TestSpec(
            index,
            test.nodeid,
            split(test.nodeid) if split else unit_of(test, mode),
            test.own_process,
            test.needs,
            shares=test.shares,
            fixtures=test.fixtures,
        )
        for index, test in enumerate(tests)
    ]


def _of_copy(needs: Needs, copy: int) -> Needs:
    """Nobody else runs beside a test alone, its own copies included."""
    return needs if needs.circle is None else replace(needs, circle=f"{needs.circle} ({copy})")


def specs_of_groups(tests: Sequence[m.Test]) -> list[TestSpec]:
    """With ``--mp``: every test in a process of its own, or every group, and some groups apart from
    all others. Strategies as in pytest-mp."""
    return [_spec_of_group(index, test) for index, test in enumerate(tests)]


def _spec_of_group(index: int, test: m.Test) -> TestSpec:
    group, strategy = test.mp or ("ungrouped", "free")
    needs = test.needs
    if strategy.startswith("isolated_") and needs.circle is None:
        needs = replace(needs, circle=f"group: {group}")
    is_one = strategy.endswith("serial")
    return TestSpec(
        index,
        test.nodeid,
        group if is_one else None,
        own_process=True,
        needs=needs,
        with_unit=is_one,
        shares=test.shares,
    )


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
