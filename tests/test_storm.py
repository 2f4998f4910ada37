"""``tools/storm.py``: its checker finds every difference, and a small storm is as planned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools import storm
from tools.storming.check import DYING, HANDOVERS, KILL, TERM, Evidence, check
from tools.storming.plan import Case, End, Fixture, Plan, blamed
from tools.storming.suites import Maker

TOOLS = Path(storm.__file__).parent

LATENESS = 0.1

LIMIT = 2.0

PLAN = Plan(
    seed=1,
    options=(),
    workers=2,
    most=3,
    cases=(
        Case("a", "passes", ("passed",)),
        Case("b", "crashes", ("failed",), ("SIGKILL",), end=End.CRASHED),
        Case("c", "hangs", ("failed",), ("Timeout",), end=End.OVERDUE, limit=LIMIT),
        Case("d", "is alone", ("skipped",), runs=False, alone=True),
        Case("e", "leaves a child", ("passed",)),
    ),
    fixtures=(Fixture("raises", End.DONE, ("undone",)), Fixture("kills", End.CRASHED, ("killed",))),
)

DETACHED, IN_GROUP = 501, 502
"""The children that ``e`` and ``c`` leave."""


class Story(NamedTuple):
    """Evidence that can be changed: what has happened in a run that was as planned.

    Worker 0 (process 100) runs ``a`` and ``b``, which ends it; worker 1 (101) runs ``e`` and ``c``,
    which hangs; worker 2 (102) takes the place of the first, and runs ``d``.
    """

    log: list[dict[str, Any]]
    reports: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    counts: dict[str, int]
    left: set[int]

    def evidence(self, status: int | None = 1) -> Evidence:
        return Evidence(
            self.log, self.reports, self.notes, self.counts, status, LATENESS, frozenset(self.left)
        )

    def differences(self) -> list[str]:
        return check(PLAN, self.evidence())

    def find(self, kind: str, **facts: Any) -> dict[str, Any]:
        """The one line of the log that says so."""
        (line,) = (
            line for line in self.log if line["type"] == kind and facts.items() <= line.items()
        )
        return line

    def phase(self, test: str, when: str = "call") -> dict[str, Any]:
        (report,) = (r for r in self.reports if (r["nodeid"], r["when"]) == (test, when))
        return report


def happened() -> Story:
    story = Story([], [], [], {"passed": 2, "failed": 2, "skipped": 1}, {DETACHED})
    at = iter(range(100))

    def log(kind: str, **facts: Any) -> None:
        story.log.append({"type": kind, "at": 10 + next(at) / 1000, **facts})

    def report(test: int, when: str, outcome: str, text: str = "", worker: int | None = 0) -> None:
        nodeid = "abcde"[test]
        story.reports.append({"nodeid": nodeid, "when": when, "outcome": outcome, "longrepr": text})
        if worker is not None:
            log("Reported", worker=worker, test=test, when=when, outcome=outcome)

    def note(pid: int, test: str, *words: str, **facts: Any) -> None:
        story.notes.extend({"note": word, "pid": pid, "test": test, **facts} for word in words)

    log("RunStarted")
    log("TestsCollected", nodeids=["a", "b", "c", "d", "e"])
    for worker in (0, 1):
        log("StartWorker", worker=worker)
        log("WorkerReady", worker=worker)
        log("Assign", worker=worker, tests=[[0, 1], [4, 2]][worker])
    log("Started", worker=0, test=0)
    note(100, "a", "begin", "ran", "end")
    for when in ("setup", "call", "teardown"):
        report(0, when, "passed")
    log("Finished", worker=0, test=0)
    log("Started", worker=1, test=4)
    note(101, "e", "begin", "ran")
    note(101, "e", "child", child=DETACHED, detached=True)
    note(101, "e", "end")
    for when in ("setup", "call", "teardown"):
        report(4, when, "passed", worker=1)
    log("Finished", worker=1, test=4)
    log("Started", worker=0, test=1)
    note(100, "b", "begin", "ran")
    report(1, "call", "failed", "crashed while running 'b': SIGKILL", worker=None)
    log("WorkerDied", worker=0, running=1, is_crash=True)
    log("StartWorker", worker=2)
    log("Assign", worker=2, tests=[3])
    log("Started", worker=1, test=2)
    note(101, "c", "begin", "ran")
    note(101, "c", "child", child=IN_GROUP, detached=False)
    log("Started", worker=2, test=3)
    note(102, "d", "begin", "end")
    report(3, "setup", "skipped", worker=2)
    report(3, "teardown", "passed", worker=2)
    log("Finished", worker=2, test=3)
    log("WorkerEnded", worker=2)
    report(2, "call", "failed", "Timeout at c", worker=None)
    log("WorkerDied", worker=1, running=2, is_crash=False)
    story.log[-1]["at"] = story.find("Started", test=2)["at"] + LIMIT + TERM + 0.01
    log("RunEnded", unfinished=[])
    return story


def test_a_run_that_was_as_planned_has_no_difference() -> None:
    assert happened().differences() == []


def lose_a_test(story: Story) -> None:
    story.log.remove(story.find("Started", test=0))
    story.log.remove(story.find("Finished", test=0))
    story.notes[:] = [note for note in story.notes if note["test"] != "a"]
    story.reports[:] = [report for report in story.reports if report["nodeid"] != "a"]


def run_it_twice(story: Story) -> None:
    """A crashed one."""
    again = copy.deepcopy(story.find("Started", test=1))
    story.log.insert(story.log.index(story.find("Finished", test=3)), again | {"worker": 2})
    story.notes.append({"note": "begin", "pid": 102, "test": "b"})


def blame_for_wider_fixtures(*names: str) -> Callable[[Story], None]:
    """The teardown of these has been, in ``a``."""

    def change(story: Story) -> None:
        place = story.notes.index({"note": "end", "pid": 100, "test": "a"})
        for name in reversed(names):
            for word in ("down", "up"):
                note = {"note": word, "pid": 100, "test": "a", "fixture": name}
                story.notes.insert(place, note)

    return change


def set_up_out_of_turn(story: Story) -> None:
    story.notes.extend([{"note": "up", "pid": 102, "test": "d", "fixture": "x"}] * 2)


WRONG: dict[str, tuple[Callable[[Story], Any], str]] = {
    "a test is lost": (lose_a_test, "a: the log: begun 0 times"),
    "a lost test has no report": (lose_a_test, "a: planned ('passed',), but reported ()"),
    "a lost test has not run": (lose_a_test, "a: planned to note 'ran' 1 times, but did 0 times"),
    "a test is begun twice": (run_it_twice, "b: the log: begun 2 times"),
    "a test runs twice": (run_it_twice, "b: planned to note 'begin' 1 times, but did 2 times"),
    "a test ends twice": (
        lambda s: s.log.append(s.find("Finished", test=0)),
        "a: the log: ended 2 times",
    ),
    "a test never ends": (
        lambda s: s.log.remove(s.find("Finished", test=0)),
        "a: the log: ended 0 times",
    ),
    "a test ends elsewhere": (
        lambda s: s.find("Finished", test=0).update(worker=1),
        "a: the log: begun in one worker, and ended in another",
    ),
    "a wrong outcome": (
        lambda s: s.phase("a").update(outcome="failed"),
        "a: planned ('passed',), but reported ('failed',)",
    ),
    "two outcomes": (
        lambda s: s.reports.append(s.phase("b") | {"when": "teardown"}),
        "b: planned ('failed',), but reported ('failed', 'error at teardown')",
    ),
    "another reason": (
        lambda s: s.phase("b").update(longrepr="crashed while running 'b': SIGSEGV"),
        "b: no report says 'SIGKILL'",
    ),
    "a crash for a hang": (
        lambda s: s.find("WorkerDied", running=2).update(is_crash=True),
        "c: the log: planned overdue, but crashed",
    ),
    "a hang that is told as a crash": (
        lambda s: s.phase("c").update(longrepr="crashed while running 'c': Timeout"),
        "c: planned overdue, but a crash is reported",
    ),
    "a crash that is not told": (
        lambda s: s.phase("b").update(longrepr="SIGKILL"),
        "b: planned crashed, but a crash is not reported",
    ),
    "a report that is not in the log": (
        lambda s: s.log.remove(s.find("Reported", test=0, when="call")),
        "a: the log: reports {('setup', 'passed'): 1, ('teardown', 'passed'): 1}, but the hooks",
    ),
    "a body that should not run": (
        lambda s: s.notes.append({"note": "ran", "pid": 102, "test": "d"}),
        "d: planned to note 'ran' 0 times, but did 1 times",
    ),
    "a hung test that went on to its end": (
        lambda s: s.notes.append({"note": "end", "pid": 101, "test": "c"}),
        "c: planned to note 'end' 0 times, but did 1 times",
    ),
    "a test over its time": (
        lambda s: s.find("Started", test=2).update(
            at=s.find("WorkerDied", running=2)["at"]
            - (LIMIT + KILL + DYING + HANDOVERS * LATENESS + 0.1)
        ),
        "c: took 6.100 s of its 2 s, and may 6.000 s",
    ),
    "a test that is ended before its time": (
        lambda s: s.find("WorkerDied", running=2).update(
            at=s.find("Started", test=2)["at"] + LIMIT + TERM - 0.5
        ),
        "c: was ended after 2.500 s of its 2 s, too early for SIGTERM",
    ),
    "a worker without an end": (
        lambda s: s.log.remove(s.find("WorkerEnded")),
        "workers [2]: no end",
    ),
    "a worker that goes on after its end": (
        lambda s: s.log.append({"type": "Asked", "at": 20.0, "worker": 2}),
        "worker 2: Asked of one that does not live",
    ),
    "a number that is used again": (
        lambda s: s.log.insert(-1, {"type": "StartWorker", "at": 20.0, "worker": 2}),
        "worker 2: started again",
    ),
    "too many workers": (
        lambda s: s.log.insert(3, {"type": "StartWorker", "at": 10.0, "worker": 3}),
        "workers [0, 1, 3]: more than 2 at once",
    ),
    "a worker with too many tests": (
        lambda s: s.log.extend([s.find("Started", test=0)] * 2),
        "worker 0: ran 4 tests and may 3",
    ),
    "a test that shares its process": (
        lambda s: s.find("Started", test=0).update(worker=2),
        "worker 2: d shared its process",
    ),
    "a worker that is two processes": (
        lambda s: next(n for n in s.notes if n["test"] == "a").update(pid=99),
        "worker 0: was several processes: [99, 100]",
    ),
    "a process that is left": (
        lambda s: s.left.add(77),
        "processes that nobody planned are left: [77]",
    ),
    "a child of a hung test that is left": (
        lambda s: s.left.add(IN_GROUP),
        f"process {IN_GROUP} of c: planned to go, but is left",
    ),
    "a detached child that is gone": (
        lambda s: s.left.clear(),
        f"process {DETACHED} of e: planned to be left alone, but is gone",
    ),
    "a fixture that is not torn down": (
        lambda s: s.notes.append({"note": "up", "pid": 102, "test": "d", "fixture": "x"}),
        "process 102: never torn down: ['x']",
    ),
    "a fixture that is set up twice": (set_up_out_of_turn, "process 102: x up out of turn"),
    "a teardown's failure that is lost": (
        blame_for_wider_fixtures("raises"),
        "a: planned ('passed', 'error at teardown'), but reported ('passed',)",
    ),
    "a teardown's crash that is lost": (
        blame_for_wider_fixtures("raises", "kills"),
        "a: planned ('passed', 'failed'), but reported ('passed',)",
    ),
    "other tests": (
        lambda s: s.find("TestsCollected")["nodeids"].append("f"),
        "collected: missing [], too many ['f']",
    ),
    "a report of another test": (
        lambda s: s.reports.append(s.phase("a") | {"nodeid": "f"}),
        "reported, but not planned: ['f']",
    ),
    "wrong counts": (lambda s: s.counts.update(failed=3), "the terminal: planned {"),
    "a log without its end": (lambda s: s.log.pop(), "the log: begins and ends with"),
    "unfinished tests": (
        lambda s: s.find("RunEnded").update(unfinished=[3]),
        "the log: unfinished [3]",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_every_kind_of_difference_is_found(wrong: str) -> None:
    change, words = WRONG[wrong]
    story = happened()
    change(story)
    found = story.differences()
    assert any(text.startswith(words) for text in found), found


@pytest.mark.parametrize(("status", "words"), [(0, "exit 0"), (None, "not over in time")])
def test_another_exit_is_found(status: int | None, words: str) -> None:
    story = happened()
    assert check(PLAN, story.evidence(status)) == [f"the run: planned exit 1, but {words}"]


@pytest.mark.parametrize("is_crossed", [False, True])
def test_only_the_time_in_which_a_test_waits_for_an_answer_does_not_count(is_crossed: bool) -> None:
    """A question that crosses an assignment has its answer before it is heard."""
    story = happened()
    begun, died = story.find("Started", test=2), story.find("WorkerDied", running=2)
    died["at"] += 100
    said: list[dict[str, Any]] = [
        {"type": "Asked", "at": begun["at"]},
        {"type": "Revoked", "at": begun["at"] + 100, "tests": [8] * is_crossed},
        {"type": "Assign", "at": begun["at"] + 100, "tests": [9]},
    ]
    if is_crossed:
        said.insert(0, {"type": "Assign", "at": begun["at"], "tests": [8]})
    place = story.log.index(begun) + 1
    story.log[place:place] = [line | {"worker": 1} for line in said]
    assert story.differences() == (
        ["c: took 103.010 s of its 2 s, and may 6.000 s"] if is_crossed else []
    )


def test_the_same_seed_makes_the_same_storm() -> None:
    assert Maker(7, 60, 2).make() == Maker(7, 60, 2).make()
    assert Maker(7, 60, 2).make() != Maker(8, 60, 2).make()


def test_the_checker_knows_nothing_of_braid() -> None:
    for file in (TOOLS / "storm.py", *(TOOLS / "storming").glob("*.py")):
        assert "pytest_braid" not in file.read_text(encoding="utf-8")


def test_a_small_storm_is_as_planned(capsys: pytest.CaptureFixture[str]) -> None:
    code = storm.main(["--runs", "1", "--seed", "8", "--tests", "60", "-n", "2"])
    said = capsys.readouterr().out
    assert said.endswith("1 of 1 runs as planned\n"), said
    assert code == 0


def test_a_difference_is_shown_with_plan_and_evidence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = Case("test_a.py::test_1", "planned otherwise", ("failed",))
    plan = Plan(5, (), 1, None, (case,), ())
    files = {"test_a.py": "from storm_notes import note\ndef test_1(): note('ran')"}
    monkeypatch.setattr(Maker, "make", lambda _: (plan, files))
    assert storm.main(["--runs", "1", "--seed", "5", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"  {tmp_path / '5'}\n  again: --seed 5 --runs 1\n" in said
    assert "  the run: planned exit 1, but exit 0\n" in said
    assert "  test_a.py::test_1: planned ('failed',), but reported ('passed',)\n" in said
    for line in ("plan     Case(", "log      {'type': 'Started'", "reported {", "noted    {"):
        assert f"    {line}" in said
    assert said.endswith("0 of 1 runs as planned; not so: seeds [5]\n")


def test_who_ends_its_process_in_a_teardown_tells_nothing_else_of_it() -> None:
    """Whatever that would have been called: a test with the mark xfail says xfailed there, too."""
    fails, kills = Fixture("inner", End.DONE, ("up",)), Fixture("outer", End.CRASHED, ("killed",))
    plain = Case("t", "passes", ("passed",))
    assert blamed(blamed(plain, fails), kills).outcome == ("passed", "failed")
    forgiven = Case("t", "xfails", ("xfailed",), forgiven=True)
    assert blamed(forgiven, fails).outcome == ("xfailed", "xfailed")
    assert blamed(blamed(forgiven, fails), kills).outcome == ("xfailed", "failed")
