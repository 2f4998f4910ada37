"""What ``tools/shared_suite.py`` reads of a run of pytest-shared-session-scope's own tests."""

from __future__ import annotations

from pathlib import Path

from tools import shared_suite
from tools.acceptance import Listed

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_1" />
<testcase classname="tests.test_a" name="test_2[0]"><failure /></testcase>
<testcase classname="tests.test_a" name="test_3"><error /></testcase>
<testcase classname="tests.test_b" name="test_4"><skipped /></testcase>
</testsuite></testsuites>"""


def test_only_what_has_passed_has_passed() -> None:
    outcomes = dict(shared_suite.outcomes_in(JUNIT))
    assert outcomes == {
        "tests/test_a.py::test_1": "passed",
        "tests/test_a.py::test_2[0]": "failed",
        "tests/test_a.py::test_3": "failed",
        "tests/test_b.py::test_4": "failed",
    }
    assert [*shared_suite.counts(outcomes)] == ["1 of 4 pass, of which there are to be 42"]


def test_nothing_is_excused() -> None:
    listed = Listed.read(Path(shared_suite.__file__).with_name("shared_suite.toml"))
    assert not listed.fails
    assert not listed.may_fail
