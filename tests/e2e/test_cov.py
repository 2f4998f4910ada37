"""pytest-cov, unmodified, measures what it measures in a serial run."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from tests.e2e.serial import Suite

pytestmark = pytest.mark.skipif(find_spec("pytest_cov") is None, reason="pytest-cov is missing")

MEASURED = """
import os
AT_IMPORT = 1
def even(n):
    if n % 2 == 0:
        return "even"
    return "odd"
def only_in_setup():
    return [n for n in range(3) if n]
def only_in_teardown(flag):
    while flag:
        flag = False
    return flag
def only_at_the_end():
    return "end"
def never():
    return "never"
def in_a_child():
    return "child"
def before_a_crash():
    return "crash"
"""

TESTS = """
import multiprocessing, os, pytest, measured
@pytest.fixture(scope="session", autouse=True)
def of_session():
    yield
    measured.only_at_the_end()
@pytest.fixture
def fixture():
    measured.only_in_setup()
    yield
    measured.only_in_teardown(True)
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_even(n): assert measured.even(n) in ("even", "odd")
def test_fixture(fixture): pass
def test_fails(): assert measured.even(1) == "even"
"""


@pytest.fixture
def measured(suite: Suite) -> Suite:
    suite.plugins = ("pytest_cov",)
    suite.ini("pythonpath = .")
    suite.write(measured=MEASURED, test_measured=TESTS)
    suite.env["COVERAGE_FILE"] = str(suite.base / "coverage")
    return suite


def result(suite: Suite, *args: str, braid: bool, workers: int = 2) -> dict[str, Any]:
    """What coverage says of each file: executed and missing lines and branches."""
    report = suite.base / "coverage.json"
    words = ["--cov=.", f"--cov-report=json:{report}", "--cov-report=term-missing", *args]
    run = suite.braid(*words, workers=workers) if braid else suite.serial(*words)
    assert run.exit == 1, run.text
    assert "CovReportWarning" not in run.text
    assert "was never imported" not in run.text
    files = json.loads(report.read_text(), object_hook=_sorted_texts)["files"]
    table = [line for line in run.lines if line.startswith(("measured.py", "TOTAL"))]
    return {"files": files, "table": table}


def _sorted_texts(found: dict[str, Any]) -> dict[str, Any]:
    """Contexts come in the order in which they were met."""
    return {
        key: sorted(value) if isinstance(value, list) and "|" in str(value) else value
        for key, value in found.items()
    }


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("branch", [[], ["--cov-branch"]], ids=["lines", "branches"])
def test_lines_and_branches_are_exactly_those_of_a_serial_run(
    measured: Suite, branch: list[str], workers: int
) -> None:
    serial = result(measured, *branch, braid=False)
    assert result(measured, *branch, braid=True, workers=workers) == serial


@pytest.mark.parametrize("option", ["--threads=3", "--forked", "--mp"])
def test_options_that_imply_workers_measure_in_them(measured: Suite, option: str) -> None:
    words = "--cov=.", "--cov-branch", "--cov-report=term-missing", option
    run = measured.plain("-p", "braid", "-p", "pytest_cov", *words)
    assert run.exit == 1, run.text
    (line,) = (line for line in run.lines if line.startswith("measured.py"))
    assert line in result(measured, "--cov-branch", braid=False)["table"]


@pytest.mark.parametrize("recycled", ["--forked", "--max-tests-per-worker=2"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("branch", [[], ["--cov-branch"]], ids=["lines", "branches"])
def test_a_worker_that_retires_leaves_what_it_has_measured(
    measured: Suite, branch: list[str], workers: int, recycled: str
) -> None:
    serial = result(measured, *branch, braid=False)
    assert result(measured, recycled, *branch, braid=True, workers=workers) == serial


def test_contexts_are_those_of_a_serial_run(measured: Suite) -> None:
    measured.path.joinpath(".coveragerc").write_text("[json]\nshow_contexts = true\n")
    # A session fixture has the contexts of the first and the last test of its process.
    measured.write(test_measured=TESTS.replace('(scope="session", autouse=True)', ""))
    args = ["--cov-context=test"]
    serial = result(measured, *args, braid=False)
    assert result(measured, *args, braid=True) == serial


def test_no_data_file_of_a_process_is_left(measured: Suite) -> None:
    result(measured, braid=True)
    assert [path.name for path in measured.base.glob("coverage*")] in (
        ["coverage", "coverage.json"],
        ["coverage.json", "coverage"],
    )


def test_appended_data_is_kept(measured: Suite) -> None:
    measured.write(
        test_more="import measured\ndef test_1(): measured.never()\ndef test_2(): assert 0"
    )
    results = []
    for braid in (False, True):
        measured.base.joinpath("coverage").unlink(missing_ok=True)
        result(measured, "test_more.py", braid=braid)
        results.append(result(measured, "--cov-append", "test_measured.py", braid=braid))
    assert results[0] == results[1]


def test_a_threshold_fails_the_run_as_serial(measured: Suite) -> None:
    measured.write(test_measured="import measured\ndef test_1(): pass\ndef test_2(): pass")
    for threshold in ("20", "100"):
        words = ["--cov=measured", f"--cov-fail-under={threshold}"]
        serial, braid = measured.serial(*words), measured.braid(*words)
        assert serial.exit == braid.exit
        ends = [
            [line for line in run.lines if "Required test coverage" in line]
            for run in (serial, braid)
        ]
        assert ends[0] == ends[1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("branch", [[], ["--cov-branch"]], ids=["lines", "branches"])
def test_what_a_crashed_worker_had_covered_is_kept(
    measured: Suite, branch: list[str], method: str
) -> None:
    crashing = """
    import os, measured
    def test_1(): measured.even(2)
    def test_2(): assert measured.even(3) == "even"
    def test_3(): measured.only_in_teardown(True)
    def test_4(): os.kill(os.getpid(), 9)
    def test_5(): measured.never()
    """
    words = [*branch, "--cov=measured"]
    measured.write(test_measured=crashing.replace("9", "0"))
    serial = result(measured, *words, braid=False)
    measured.write(test_measured=crashing)
    options = [*words, f"--start-method={method}"]
    assert kept(serial) == kept(result(measured, *options, braid=True, workers=1))


def kept(found: dict[str, Any]) -> Any:
    """What is known of the measured module; the one with the tests is another in each run."""
    return found["files"]["measured.py"]


def test_coverage_itself_around_a_run_is_no_debugger(measured: Suite) -> None:
    with pytest.MonkeyPatch.context() as patch:
        measured.set_environment(patch)
        found = measured.pytester.run(
            sys.executable, "-m", "coverage", "run", "--source=.", "-m",
            "pytest", "-p", "braid", "-n2",
        )  # fmt: skip
    assert any("2 workers [6 items]" in line for line in found.outlines)
