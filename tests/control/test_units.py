"""Which tests make up a unit."""

from __future__ import annotations

import pytest

from pytest_braid.control.units import specs_of, unit_of
from pytest_braid.model.tests import Mode, TestSpec
from pytest_braid.wire import messages as m


def collected(*nodeids: str, group: str | None = None) -> list[m.Test]:
    return [m.Test(nodeid, (nodeid, 0, nodeid), group=group) for nodeid in nodeids]


@pytest.mark.parametrize(
    ("nodeid", "scope", "file"),
    [
        ("test_a.py::test_1", "test_a.py", "test_a.py"),
        ("a/test_a.py::TestX::test_1", "a/test_a.py::TestX", "a/test_a.py"),
        ("test_a.py::TestX::TestY::test_1", "test_a.py::TestX::TestY", "test_a.py"),
        ("test_a.py::test_1[a::b]", "test_a.py", "test_a.py"),
        ("test_a.py::TestX::test_1[[a/b::c]]", "test_a.py::TestX", "test_a.py"),
        ("a[1]/test_a.py::TestX::test_1[x]", "a[1]/test_a.py::TestX", "a[1]/test_a.py"),
        ("pages.txt", "pages.txt", "pages.txt"),
    ],
)
def test_the_scope_and_the_file_of_a_node_id(nodeid: str, scope: str, file: str) -> None:
    (test,) = collected(nodeid, group="g")
    assert unit_of(test, Mode.LOADSCOPE) == scope
    assert unit_of(test, Mode.LOADFILE) == file
    assert unit_of(test, Mode.LOADGROUP) == "g"


@pytest.mark.parametrize("mode", [Mode.LOAD, Mode.WORKSTEAL])
def test_modes_of_single_tests_know_no_units(mode: Mode) -> None:
    tests = collected("a.py::test_1", "a.py::test_2", group="g")
    assert specs_of(tests, mode, workers=3) == [
        TestSpec(0, "a.py::test_1"),
        TestSpec(1, "a.py::test_2"),
    ]


def test_a_test_without_a_group_is_a_unit_of_its_own() -> None:
    (spec,) = specs_of(collected("a.py::test_1"), Mode.LOADGROUP, workers=2)
    assert spec == TestSpec(0, "a.py::test_1", None)


def test_each_worker_has_a_copy_of_the_collection() -> None:
    tests = collected("a.py::test_1", "a.py::test_2")
    assert specs_of(tests, Mode.EACH, workers=2) == [
        TestSpec(0, "a.py::test_1", "each-0"),
        TestSpec(1, "a.py::test_2", "each-0"),
        TestSpec(2, "a.py::test_1", "each-1"),
        TestSpec(3, "a.py::test_2", "each-1"),
    ]
