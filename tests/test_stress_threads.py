"""``tools/stress_threads.py``: a small suite is the same in threads, and differences are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools import stress_threads
from tools.stressing.check import Run, differences
from tools.stressing.suite import Maker

TEST, SHARED = "test_a.py::test_1", "module wide of test_a.py"


def report(when: str, **facts: Any) -> dict[str, Any]:
    made = {"nodeid": TEST, "when": when, "outcome": "passed", "expected": False, "planned": []}
    lines = f"<{SHARED}> up\n<{TEST}> prints 0\n<{SHARED}> down\n"
    return made | {"sections": [["Captured stdout call", lines]]} | facts


def run(*reports: dict[str, Any], ups: int = 1, downs: int = 1, status: int = 0) -> Run:
    notes = [{"what": "up", "key": SHARED}] * ups + [{"what": "down", "key": SHARED}] * downs
    return Run([report("setup"), report("call"), *(reports or [report("teardown")])], notes, status)


WRONG = {
    "a lost report": (run(report("setup")), f"outcome of {TEST}: ["),
    "another outcome": (run(report("teardown", outcome="failed")), f"outcome of {TEST}: ["),
    "another reason": (run(report("teardown", planned=["planned: <x>"])), f"outcome of {TEST}: ["),
    "lost output": (run(report("teardown", sections=[])), f"output of {TEST}: []"),
    "another's output": (
        run(report("teardown", sections=[["Captured stdout call", "<b> prints 0"]])),
        f"output of {TEST}: ['Captured stdout call: <b> prints 0']",
    ),
    "lost output of a shared fixture": (
        run(report("teardown", sections=[["Captured stdout call", f"<{TEST}> prints 0"]])),
        f"'<{SHARED}> down' is shown 0 times, and 1 expected",
    ),
    "a second setup": (run(ups=2), f"{SHARED}: set up 2 times, and 1 serially"),
    "no setup": (run(ups=0), f"{SHARED}: set up 0 times, and 1 serially"),
    "no teardown": (run(downs=0), f"{SHARED}: torn down 0 times, and set up 1 times"),
    "a failed teardown": (
        run(report("teardown", outcome="failed", planned=[f"planned: <{SHARED}>"] * 2)),
        f"a shared fixture's failure: planned: <{SHARED}> told 2 times, set up 1 times",
    ),
    "another exit code": (run(status=1), "exit code 1, and 0 serially"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_every_kind_of_difference_is_found(wrong: str) -> None:
    other, words = WRONG[wrong]
    found = [*differences(run(), other)]
    assert any(text.startswith(words) for text in found), found


def test_the_same_is_no_difference() -> None:
    assert [*differences(run(), run())] == []


def test_the_last_user_of_a_shared_fixture_tells_of_its_teardown() -> None:
    """Whichever it is."""
    told = report("teardown", outcome="failed", planned=[f"planned: <{SHARED}>"])
    silent = report("teardown", sections=[["Captured stdout call", f"<{TEST}> prints 0"]])
    told_by_other, silent_other = (one | {"nodeid": "test_a.py::test_2"} for one in (told, silent))
    assert [*differences(run(told, silent_other), run(silent, told_by_other))] == []


def test_the_same_seed_makes_the_same_suite(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        folder = tmp_path / name
        folder.mkdir()
        Maker(seed, 60).write(folder)
        texts.append([path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))])
    assert texts[0] == texts[1] != texts[2]


def test_a_small_suite_is_the_same_in_threads(capsys: pytest.CaptureFixture[str]) -> None:
    code = stress_threads.main(["--runs=1", "--tests=60", "--threads=8"])
    said = capsys.readouterr().out
    assert said.endswith("1 runs, all as the serial one\n"), said
    assert code == 0
