"""The three lines at the end of a run."""

from __future__ import annotations

import re

import pytest

from tests.e2e.running import Stage

AT_ONCE = """
    import pytest_braid.report.verdict as verdict
    verdict.SHORTEST = 0.0
"""

LINES = (
    r"braid: 2 workers: 6 tests of \d+\.\d s in \d+\.\d s, .* one after another\n"
    r"braid: lanes were busy for \d+% of the time(; idle .*)?\n"
    r"braid: no order .*; .*\n"
)


def suite(stage: Stage) -> None:
    stage.write(
        conftest=AT_ONCE,
        test_a="""
        import time
        @pytest.mark.parametrize("n", range(6))
        def test_1(n): time.sleep(0.05)
        """,
    )


@pytest.mark.parametrize("args", [[], ["-v"], ["-s"]])
def test_a_run_ends_with_three_lines(stage: Stage, args: list[str]) -> None:
    suite(stage)
    assert re.search(LINES + r"=+ 6 passed", stage.run(*args).text)


def test_they_name_threads(stage: Stage) -> None:
    suite(stage)
    text = stage.run("--threads=2").text
    assert re.search(r"^braid: 2 workers x 2 threads: 6 tests of", text, re.MULTILINE)


@pytest.mark.parametrize("args", [["-q"], ["-qq"], ["-p", "no:terminal"]])
def test_a_quiet_run_has_none(stage: Stage, args: list[str]) -> None:
    suite(stage)
    assert "braid:" not in stage.run(*args).text


def test_a_run_of_no_time_has_none(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    assert "braid:" not in stage.run().text


def test_a_serial_run_has_none(stage: Stage) -> None:
    suite(stage)
    assert "braid:" not in stage.run(workers=0).text
