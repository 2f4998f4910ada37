"""The list of differences from pytest-xdist is exact, both ways."""

from __future__ import annotations

from pathlib import Path

from tools import acceptance
from tools.acceptance import Listed

LISTED = Listed({"test_plugin.py::test_a": "rsync"}, {"test_plugin.py::test_b": "chance"})


def test_just_what_is_listed_is_no_difference() -> None:
    ended = {"test_plugin.py::test_a": "failed", "test_plugin.py::test_c": "passed"}
    assert not [*acceptance.compare(ended, LISTED)]


def test_a_failure_that_is_not_listed_is_told() -> None:
    assert [*acceptance.compare({"test_plugin.py::test_c": "failed"}, LISTED)] == [
        "fails, and is not listed: test_plugin.py::test_c"
    ]


def test_a_listed_test_that_passes_is_told_with_the_reason_that_is_none() -> None:
    assert [*acceptance.compare({"test_plugin.py::test_a": "passed"}, LISTED)] == [
        "listed, and does not fail: test_plugin.py::test_a (rsync)"
    ]


def test_what_may_fail_may_pass() -> None:
    for end in ("passed", "failed"):
        assert not [*acceptance.compare({"test_plugin.py::test_b": end}, LISTED)]


def test_the_counts_are_told_by_file() -> None:
    ended = {"test_plugin.py::a": "passed", "test_plugin.py::b": "marked"}
    assert [*acceptance.counts(ended)][-1] == (
        "test_plugin.py: 1 of 2 pass, 0 fail, 1 are skipped or expected to fail by their own marks"
    )


def test_every_difference_has_a_reason() -> None:
    listed = Listed.read(Path(acceptance.__file__).with_name("acceptance.toml"))
    assert all(reason.strip() for table in listed for reason in table.values())
    assert not listed.fails.keys() & listed.may_fail.keys()
