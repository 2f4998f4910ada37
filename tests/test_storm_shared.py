"""``tools/storm_shared.py``: a small storm is as it must be, and its checker finds differences."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import storm_shared
from tools.storm_shared import FAULTS, Plan, differences_of, plan_of

RUNS = 8


def plan(at: int | None = None) -> Plan:
    return Plan(1, "crash", ["-n2"], {}, at)


@pytest.mark.parametrize(
    ("notes", "status", "said"),
    [
        ("up a\nran\ndown a\n", 0, []),
        ("", 1, []),
        ("up a\nup a\ndown a\n", 0, ["fixture 'a': set up 2 times, torn down 1 times"]),
        ("up b\nran\n", 1, ["fixture 'b': set up 1 times, torn down 0 times"]),
        ("down c\nup c\n", 1, ["fixture 'c': torn down before it was set up"]),
        ("", 3, ["exit code 3"]),
        ("", None, ["the run did not end"]),
    ],
)
def test_the_checker_finds_it(
    tmp_path: Path, notes: str, status: int | None, said: list[str]
) -> None:
    path = tmp_path / "notes"
    path.write_text(notes)
    assert differences_of(plan(), path, status) == said


def test_only_ctrl_c_may_end_a_run_as_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    assert differences_of(plan(), path, 2) == ["exit code 2"]
    assert differences_of(plan(at=1), path, 2) == []


def test_all_faults_come() -> None:
    plans = [plan_of(seed) for seed in range(200)]
    assert {each.fault for each in plans} == {*FAULTS}
    assert plans[7] == plan_of(7)


def test_a_small_storm_is_as_it_must_be(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = storm_shared.main(
        ["--runs", str(RUNS), "--seed", "1000", "--folder", str(tmp_path / "runs")]
    )
    printed = capfd.readouterr().out
    assert status == 0, printed
    assert f"{RUNS} of {RUNS} runs as they must be" in printed
