"""Figures of ``tools/async_suites.py``, and which runs ``tools/differential.py`` is asked for."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import pytest

from tools import differential
from tools.async_suites import SUITES, Found, read

LOG = [
    {"type": "RunStarted", "run": "", "workers": 1, "mode": "no", "wall": 0, "at": 0},
    {"type": "TestsCollected", "nodeids": list("abcd"), "asides": [None, "x", None, "y"], "at": 1},
    {"type": "Started", "worker": 0, "test": 0, "strand": 1, "at": 2},
    {"type": "Started", "worker": 0, "test": 2, "strand": 2, "at": 2},
    {"type": "Finished", "worker": 0, "test": 0, "at": 3},
    {"type": "Finished", "worker": 0, "test": 2, "at": 3},
    {"type": "Started", "worker": 0, "test": 1, "strand": 0, "at": 4},
    {"type": "Finished", "worker": 0, "test": 1, "at": 5},
    {"type": "Started", "worker": 0, "test": 3, "strand": 0, "at": 5},
]


def test_async_tests_on_strands_are_counted_and_the_others_have_a_reason(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    found = read(log, {"a", "b", "c", "not run"})
    assert found == Found(3, 2, 2, Counter({"x": 1}))
    assert found.told() == (
        "2 of 3 async tests ran as tasks (66.7%), 2 tests at once at most\n     1 x"
    )


def test_there_are_four_suites_each_at_one_release() -> None:
    assert len({suite.name for suite in SUITES}) >= 4
    assert all(suite.version for suite in SUITES)


@pytest.mark.parametrize(
    ("workers", "options", "runs"),
    [
        (None, None, [("n2", ["-n", "2"])]),
        (["1", "8"], None, [("n1", ["-n", "1"]), ("n8", ["-n", "8"])]),
        (None, ["--tasks 20"], [("with-1", ["--tasks", "20"])]),
        (["1"], ["--a 'b c'"], [("with-1", ["--a", "b c"]), ("n1", ["-n", "1"])]),
    ],
)
def test_which_runs_are_compared(
    workers: list[str] | None, options: list[str] | None, runs: list[tuple[str, list[str]]]
) -> None:
    asked = argparse.Namespace(workers=workers, options=options)
    assert [*differential.runs_asked(asked)] == runs
