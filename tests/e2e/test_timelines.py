"""``--braid-timeline``: what a run draws of itself."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.__main__ import main
from tests.e2e.running import Stage

SUITE = """
    @pytest.mark.parametrize("n", range(6))
    def test_1(n): pass
    def test_2(): assert 0
    def test_3(): os._exit(3)
    @pytest.mark.skip
    def test_4(): pass
"""


def drawn(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    data = text.partition('id="data">')[2].partition("</script>")[0]
    found: dict[str, Any] = json.loads(data)
    return found


def outcomes(picture: dict[str, Any]) -> dict[str, str]:
    tests = picture["tests"]
    return {
        picture["names"][of][1]: picture["outcomes"][outcome]
        for of, outcome in zip(tests["of"], tests["outcome"], strict=True)
    }


EXPECTED = {f"test_1[{n}]": "passed" for n in range(6)} | {
    "test_2": "failed",
    "test_3": "crashed",
    "test_4": "skipped",
}


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--threads=2"], ["-n2", "--forked"]])
def test_a_run_draws_all_its_tests(stage: Stage, options: list[str]) -> None:
    stage.write(test_a=SUITE)
    page, trace = stage.path / "out" / "t.html", stage.path / "t.json"
    files = [f"--braid-timeline={page}", f"--braid-timeline={trace}"]
    stage.run(*options, *files, "-q", workers=None)
    picture = drawn(page)
    found = outcomes(picture)
    assert {**EXPECTED, "test_3": found["test_3"]} == found
    assert found["test_3"] in ("crashed", "cut")  # if others ran beside it, nobody knows at first
    assert picture["whole"]
    events = json.loads(trace.read_bytes())["traceEvents"]
    assert {it["name"] for it in events if it.get("cat") == "test"} == {
        f"test_a.py::{name}" for name in EXPECTED
    }


def test_threads_without_workers_are_drawn(stage: Stage) -> None:
    stage.write(test_a=SUITE.replace("os._exit(3)", "pass"))
    page = stage.path / "t.html"
    stage.run("--threads=3", f"--braid-timeline={page}", workers=0)
    assert outcomes(drawn(page)) == {**EXPECTED, "test_3": "passed"}


def test_a_log_draws_the_same_as_its_run(stage: Stage) -> None:
    stage.write(test_a=SUITE)
    page, log = stage.path / "t.html", stage.path / "t.log"
    stage.run(f"--braid-timeline={page}", f"--braid-log={log}")
    assert main(["timeline", str(log), str(stage.path / "u.html")]) == 0
    assert drawn(stage.path / "u.html") == drawn(page)


def test_the_log_of_a_run_that_was_killed_can_be_drawn(stage: Stage) -> None:
    stage.write(test_a="def test_1(): hold('a')")
    log = stage.path / "t.log"
    running = stage.start(f"--braid-log={log}", gates=("a",))
    running.expect("holding a")
    running.send(signal.SIGKILL)
    running.await_end()
    running.require_gone()
    assert main(["timeline", str(log)]) == 0
    assert not drawn(log.with_suffix(".html"))["whole"]


def test_a_picture_that_cannot_be_written_is_told_and_fails_nothing(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    (stage.path / "file").touch()
    run = stage.run("--braid-timeline=file/t.html")
    assert run.exit == 0
    assert "braid: the timeline 'file/t.html' could not be written: [Errno " in run.errors


def test_another_ending_is_refused(stage: Stage) -> None:
    run = stage.run("--braid-timeline=t.svg")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert (
        "argument --braid-timeline: 't.svg' ends neither in .html, a page that any browser shows, "
        "nor in .json, a trace for Perfetto (ui.perfetto.dev) or chrome://tracing" in run.errors
    )


def test_a_run_of_one_process_has_nothing_to_draw(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    run = stage.run("--braid-timeline=t.html", workers=None)
    assert (
        "braid: no timeline of this run: tests run one after another in this process (-n N makes "
        "workers)" in run.text
    )
    assert not (stage.path / "t.html").exists()
