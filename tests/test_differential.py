"""``tools/differential.py`` finds what differs, and only that."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "differential.py"

SAME = """
    import logging, subprocess, sys, warnings
    import pytest

    def test_fails_with_an_address(): assert object() is None
    def test_temporary(tmp_path): print(tmp_path); assert not tmp_path
    def test_warns(): warnings.warn("the same")
    def test_skips(): pytest.skip("reason")
    def test_logs(record_property): record_property("a", [1]); logging.warning("a"); assert 0

    @pytest.mark.xfail(reason="known")
    @pytest.mark.parametrize("n", range(3))
    def test_known(n): assert n
"""

IS_WORKER = "import os; IS_WORKER = 'PYTEST_XDIST_WORKER' in os.environ\n"
"""To begin a module with; an initial conftest is loaded before there are workers."""

PLANTED = {
    "report: outcome": "assert not IS_WORKER",
    "longrepr": "assert 0, IS_WORKER",
    "sections": "print(IS_WORKER); assert 0",
    "warning": "import warnings; warnings.warn(str(IS_WORKER))",
    "user_properties": "record_property('name', IS_WORKER)",
    "counts line": "assert not IS_WORKER",
    "junit": "print(IS_WORKER); assert 0",
    "junit counts": "assert not IS_WORKER",
}
"""The body of a test that behaves differently in a worker, by an aspect in which this shows."""


def compare(pytester: pytest.Pytester, *more: str) -> tuple[int, str]:
    """The tool's exit code and report for the suite in the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
            patch.delenv(name, raising=False)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = pytester.run(sys.executable, TOOL, "-n", "2", *more, timeout=90)
    return int(result.ret), result.stdout.str()


def test_a_suite_that_is_the_same_in_workers_is_the_same(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SAME)
    code, report = compare(pytester)
    assert report.endswith("n2: the same")
    assert "set aside" not in report
    assert code == 0


def test_every_planted_difference_is_found(pytester: pytest.Pytester) -> None:
    bodies = [
        f"def test_{number}(record_property): {body}"
        for number, body in enumerate(PLANTED.values())
    ]
    pytester.makepyfile(IS_WORKER + "\n".join(bodies))
    code, report = compare(pytester, "--most", "1000")
    (listed,) = re.findall(r"^n2: (.+)$", report, re.MULTILINE)
    assert {item.partition(" of ")[2] for item in listed.split(", ")} >= PLANTED.keys()
    assert code == 1


def test_a_difference_names_the_test_and_shows_both_texts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(IS_WORKER + "def test_a(): print(IS_WORKER); assert 0")
    code, report = compare(pytester)
    assert "  sections   test_a_difference_names_the_test_and_shows_both_texts.py::test_a" in report
    assert "    - call: Captured stdout call = False" in report
    assert "    + call: Captured stdout call = True" in report
    assert code == 1


def test_another_exit_code_is_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(IS_WORKER + "def test_a(): assert not IS_WORKER")
    _, report = compare(pytester, "--most", "1000")
    assert re.search(r"  exit code   \n    - 0\n    \+ 1\n", report)


def test_a_lost_and_an_additional_test_are_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        IS_WORKER + "import pytest\n"
        "@pytest.mark.parametrize('n', [1, 1 + IS_WORKER])\n"
        "def test_a(n): pass"
    )
    code, report = compare(pytester, "--most", "1000")
    for name in ("test_a[1_0]", "test_a[2]"):
        assert f"  collected   test_a_lost_and_an_additional_test_are_found.py::{name}" in report
    assert code == 1


def test_what_differs_between_serial_runs_is_set_aside_by_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        from pathlib import Path

        def test_steady(): pass

        def test_random():
            seen = Path(__file__).with_name("seen")
            is_first = not seen.exists()
            seen.touch()
            assert is_first
        """
    )
    code, report = compare(pytester)
    assert "set aside" in report
    assert "  report: outcome   test_what_differs_between_serial_runs" in report
    assert "::test_random" in report
    assert "::test_steady" not in report
    assert report.endswith("n2: the same")
    assert code == 0


def test_a_run_that_hangs_ends_at_the_timeout(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, time
        def test_hangs():
            if "PYTEST_XDIST_WORKER" in os.environ: time.sleep(1000)
        """
    )
    code, report = compare(pytester, "--timeout", "10")
    assert "did not end in time" in report
    assert code == 1
