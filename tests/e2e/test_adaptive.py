"""``-n adaptive``, and what ``-n auto`` says of it; threads of numerical libraries."""

from __future__ import annotations

import os
import re

import pytest

from pytest_braid.control.libraries import VARIABLES
from pytest_braid.control.texts import not_adaptive
from tests.e2e.serial import Suite

WAITS = """
import time, pytest
@pytest.mark.parametrize("n", range(%d))
def test_waits(n): time.sleep(%s)
"""

IDLE_MACHINE = """
import pytest_braid.control.meter as meter
meter.Meter._times = lambda self: (0.0, __import__("time").monotonic())
"""
"""Of others, that is: what this suite computes itself is measured all the same."""


def test_more_workers_come_while_tests_wait_and_others_leave_the_cores_alone(suite: Suite) -> None:
    suite.env["PYTHON_CPU_COUNT"] = "1"
    suite.write(conftest=IDLE_MACHINE, test_it=WAITS % (60, 0.1))
    run = suite.braid("--maxprocesses", "4", "-v", workers="adaptive")
    assert run.exit == 0
    workers = {worker for line in run.lines for worker in re.findall(r"^\[(gw\d+)\]", line)}
    assert "gw0" in workers
    assert len(workers) > 1, run.lines
    assert workers <= {"gw0", "gw1", "gw2", "gw3"}


def test_spawned_workers_are_as_with_auto_and_it_says_so(suite: Suite) -> None:
    suite.env["PYTHON_CPU_COUNT"] = "1"
    suite.write(test_it="def test_1(): pass\ndef test_2(): pass")
    run = suite.braid("--start-method", "spawn", workers="adaptive")
    assert run.exit == 0
    assert not_adaptive(1) in run.lines


def test_what_is_said_where_workers_cannot_be_added() -> None:
    assert not_adaptive(2) == (
        "braid: -n adaptive: 2 workers, as with -n auto, and no more: each of them is an "
        "interpreter that collects the tests for itself. Only forked workers are cheap enough to "
        "be added while tests run"
    )


def test_auto_says_what_adaptive_would_have_brought(suite: Suite) -> None:
    suite.env["PYTHON_CPU_COUNT"] = "1"
    suite.write(test_it=WAITS % (16, 0.2))
    run = suite.braid(workers="auto")
    (line,) = [line for line in run.lines if "tests waited" in line]
    assert re.fullmatch(
        r"braid: no order .*; tests waited \d+% of the time: try -n adaptive, about [\d.]+ s, or "
        r"--threads auto, about [\d.]+ s",
        line,
    )


CAPS = f"""
import os
print_it = {{name: os.environ.get(name) for name in {VARIABLES!r}}}  # as numpy would see it
def test_caps(record_property):
    record_property("imported", print_it["OMP_NUM_THREADS"])
    record_property("running", os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_libraries_have_their_share_of_the_cores(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    suite.write(test_it=CAPS, test_other=CAPS)
    run = suite.braid("--start-method", method)
    told = {tuple(map(tuple, facts["user_properties"])) for facts in run.told("logreport")}
    told.discard(())
    assert told == {(("imported", share), ("running", share))}


def test_what_a_conftest_has_set_is_not_shared_out(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    suite.write(conftest="import os; os.environ['OMP_NUM_THREADS'] = '77'", test_it=CAPS)
    run = suite.braid()
    told = {tuple(map(tuple, facts["user_properties"])) for facts in run.told("logreport")}
    told.discard(())
    assert told == {(("imported", "77"), ("running", None))}
