from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.__main__ import main
from pytest_braid.control.log import EventLog
from pytest_braid.model import events as e
from pytest_braid.report.reading import LogError, read_log
from pytest_braid.report.story import Story
from pytest_braid.report.timeline import page, picture, trace, write_timeline
from tests.report.telling import NODEIDS, tell


@pytest.fixture
def story() -> Story:
    story = Story()
    tell(story)
    return story


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run.log"
    log = EventLog(path)
    tell(log)
    log.close()
    return path


def rows(drawn: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Name, lane, outcome, start and length of each test, the times in microseconds."""
    columns = zip(
        *(drawn["tests"][key] for key in ("of", "lane", "outcome", "start", "length")), strict=True
    )
    return [
        (drawn["names"][of][1], drawn["lanes"][lane], drawn["outcomes"][outcome], start, length)
        for of, lane, outcome, start, length in columns
    ]


def test_the_picture_has_every_run_of_a_test_in_its_lane(story: Story) -> None:
    assert rows(picture(story)) == [
        ("test_1", "gw0", "passed", 1_000_000, 2_000_000),
        ("TestB::test_3[</script>]", "gw1", "crashed", 1_500_000, 500_000),
        ("test_2", "gw0", "failed", 3_500_000, 500_000),
    ]


def test_the_picture_has_waits_and_the_lives_of_workers(story: Story) -> None:
    drawn = picture(story)
    assert drawn["waits"] == [
        {"from": 600_000, "to": 3_100_000, "what": "resource 'db'", "of": 1, "by": [0]}
    ]
    lives = [(it["name"], it["from"], it["ready"], it["to"], it["end"]) for it in drawn["lives"]]
    assert lives == [
        ("gw0", 500_000, 900_000, 4_100_000, "ended"),
        ("gw1", 500_000, 900_000, 2_000_000, "crashed"),
    ]


def test_the_page_needs_nothing_else_and_holds_the_picture(story: Story) -> None:
    text = page(story)
    assert not re.search(r"(src|href)\s*=|@import|url\(|fetch\(|https?://", text)
    (data,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    assert json.loads(data) == json.loads(json.dumps(picture(story)))
    assert "<title>pytest-braid: 3 tests, 4.2 s</title>" in text


def test_an_empty_run_has_a_picture() -> None:
    story = Story()
    story.event(e.RunStarted(run="", workers=1, mode="load", wall=0, at=1.0))
    assert rows(picture(story)) == []
    assert trace(story)["traceEvents"] == []


def test_threads_have_lanes_of_their_own() -> None:
    story = Story()
    story.event(e.TestsCollected(nodeids=NODEIDS, at=1.0))
    story.event(e.Started(worker=0, test=0, strand=2, at=1.0))
    story.event(e.Started(worker=0, test=1, strand=1, at=1.0))
    assert picture(story)["lanes"] == ["gw0 · 1", "gw0 · 2"]
    story.event(e.Started(worker=0, test=2, at=3.0))
    assert picture(story)["lanes"] == ["gw0", "gw0 · 1", "gw0 · 2"]


def test_copies_of_a_test_are_one_test() -> None:
    """``--dist each`` counts on through the copies."""
    story = Story()
    story.event(e.TestsCollected(nodeids=NODEIDS, at=1.0))
    story.event(e.Started(worker=1, test=4, at=1.0))
    assert picture(story)["tests"]["of"] == (1,)


def test_a_trace_has_what_the_format_asks_for(story: Story) -> None:
    """The Trace Event Format: complete events need ts and dur, metadata a name, all pid and tid."""
    events = trace(story)["traceEvents"]
    assert {it["ph"] for it in events} == {"M", "X", "i"}
    assert all({"name", "pid", "tid", "args"} <= it.keys() for it in events)
    assert all(it["ts"] >= 0 and it["dur"] >= 0 for it in events if it["ph"] == "X")
    named = {it["args"]["name"] for it in events if it["ph"] == "M"}
    assert {"worker gw0", "worker gw1", "main thread", "what tests waited for"} == named
    tests = {it["name"]: it for it in events if it.get("cat") == "test"}
    assert tests.keys() == {*NODEIDS}
    assert (tests[NODEIDS[0]]["ts"], tests[NODEIDS[0]]["dur"]) == (1_000_000, 2_000_000)
    assert tests[NODEIDS[1]]["args"]["outcome"] == "failed"


def test_a_log_tells_the_same_as_the_run(story: Story, log: Path) -> None:
    read = Story()
    read_log(log, read)
    assert picture(read) == picture(story)


def test_a_broken_last_line_is_left_out(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:9]) + lines[9][:-5])
    read = Story()
    read_log(log, read)
    assert read.ran == []
    assert not read.is_whole


def test_a_line_of_a_later_version_is_left_out(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b'{"type":"Unheard","at":1.0,"of":2}\n' + b"".join(lines[1:]))
    read = Story()
    read_log(log, read)
    assert len(read.ran) == 3


NO_LOGS = {
    "empty": (b"", "line 1: the file is empty"),
    "text": (b"collected 3 items\n", "line 1: this is no line of a log"),
    "half": (b'{"type":', "line 1: it has no whole line"),
    "other": (b'{"type":"Started","at":1}\n', "line 1: the first line is of type 'Started'"),
}


@pytest.mark.parametrize(("data", "why"), NO_LOGS.values(), ids=NO_LOGS)
def test_what_is_no_log_is_told_with_its_line(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(data)
    with pytest.raises(LogError, match="A log is what pytest -n N --braid-log PATH writes") as told:
        read_log(path, Story())
    assert f"{path}, {why}" in str(told.value)


def test_a_broken_line_in_the_middle_is_an_error(log: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], b'{"type":\n', *lines[3:]]))
    with pytest.raises(LogError, match="line 4: this is no line of a log"):
        read_log(log, Story())


def test_only_pages_and_traces_are_drawn(story: Story, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends neither in \.html nor in \.json"):
        write_timeline(story, tmp_path / "it.svg")


# --- the commands ---------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    return (out + err).splitlines()


def test_the_command_draws_a_page_beside_the_log(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = log.with_suffix(".html")
    assert said(capsys, "timeline", str(log)) == [f"{out}: 3 tests"]
    assert "<!doctype html>" in out.read_text(encoding="utf-8")


def test_the_command_draws_a_trace(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = log.with_name("new") / "it.json"
    assert said(capsys, "timeline", str(log), str(out)) == [f"{out}: 3 tests"]
    assert json.loads(out.read_bytes())["displayTimeUnit"] == "ms"


def test_the_command_says_that_a_log_is_cut(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(log.read_bytes()[:-5])
    assert said(capsys, "timeline", str(log))[0].endswith(
        "3 tests (the log ends before the run does)"
    )


@pytest.mark.parametrize("command", ["timeline", "explain"])
def test_a_missing_log_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = said(capsys, command, "nowhere.log", code=1)
    assert line.startswith(f"python -m pytest_braid {command}: [Errno 2] No such file")


def test_a_test_is_explained_from_a_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    because = (
        "gw0 was free when test_a.py::test_1 was over, and left room for it; it lay in the queue "
        "for 0.40 s"
    )
    assert said(capsys, "explain", str(log), "test_2") == [
        "test_a.py::test_2",
        "  ran in gw0, 3.50 s after the run began, for 0.50 s: failed",
        "  setup 0.10 s, call 0.10 s, teardown 0.10 s",
        f"  there because {because}",
        "  waited 2.50 s",
        "  2.50 s for resource 'db', because of test_a.py::test_1 (2.50 s)",
    ]


def test_without_a_test_all_that_waited_are_explained(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "explain", str(log))[0] == "test_a.py::test_2"


def test_an_unknown_test_is_told(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "explain", str(log), "test_9") == [
        "no test that ran has a node id with 'test_9' in it"
    ]
