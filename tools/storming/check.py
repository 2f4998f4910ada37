"""Holds what a run has left behind against its plan. It knows the format of the event log and
nothing of what writes it.

Three witnesses are heard, and must agree with the plan and with each other: the event log, what the
hooks of reporting told in the controller, and what the tests noted themselves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tools.storming.plan import Case, End, Plan, blamed

TERM, KILL = 1.0, 2.0
"""Seconds after the limit at which a hung test gets these signals (docs/faults.md)."""

DYING = 1.0
"""Seconds for what comes behind the last signal: the kernel ends the process, others hear of it."""

HANDOVERS = 10
"""How often in all this one process waits until another has done its part. Each may be as late as
the machine makes them, which is measured while the run goes on (``Evidence.lateness``)."""

_LAST = {"WorkerEnded", "WorkerDied", "WorkerGone"}
"""Lines of the log with which a worker ends."""

Facts = Mapping[str, Any]


class Evidence(NamedTuple):
    """What is left of a run. ``exit``: ``None`` if it was not over in time. ``lateness``: by how
    many seconds a process was woken too late at worst. ``left``: processes that still live."""

    log: Sequence[Facts]
    reports: Sequence[Facts]
    notes: Sequence[Facts]
    counts: Mapping[str, int]
    exit: int | None
    lateness: float
    left: frozenset[int]


def check(plan: Plan, seen: Evidence) -> list[str]:
    """Every difference between plan and evidence, in words; empty if there is none."""
    return list(_Checker(plan, seen).differences())


class _Checker:
    def __init__(self, plan: Plan, seen: Evidence) -> None:
        self._plan = plan
        self._seen = seen
        self._fixtures = {fixture.name: fixture for fixture in plan.fixtures}
        self._by_test = _grouped(seen.notes, "test")
        self._reported = _grouped(seen.reports, "nodeid")
        self._cases = {case.test: self._effective(case) for case in plan.cases}
        nodeids = [n for line in self._lines("TestsCollected") for n in line["nodeids"]]
        self._nodeids = dict(enumerate(nodeids))
        self._by_worker = _grouped(seen.log, "worker")
        self._began = _grouped(self._lines("Started"), "test")
        self._ended = _grouped([*self._lines("Finished"), *self._killers()], "test")

    def differences(self) -> Iterator[str]:
        if self._seen.exit != 1:
            how = "not over in time" if self._seen.exit is None else f"exit {self._seen.exit}"
            yield f"the run: planned exit 1, but {how}"
        yield from self._frame()
        for number, nodeid in self._nodeids.items():
            if nodeid in self._cases:
                for text in self._of_test(number, self._cases[nodeid]):
                    yield f"{nodeid}: {text}"
        yield from self._counts()
        yield from self._workers()
        yield from self._wider_fixtures()
        yield from self._processes()

    def _lines(self, *types: str) -> list[Facts]:
        return [line for line in self._seen.log if line["type"] in types]

    def _killers(self) -> list[Facts]:
        """The deaths in the log, each with the test that it ended."""
        died = self._lines("WorkerDied")
        return [{**line, "test": line["running"]} for line in died if line["running"] is not None]

    def _effective(self, case: Case) -> Case:
        """As planned, or blamed for the teardown of a wider fixture, as its process noted."""
        for note in self._by_test[case.test]:
            fixture = self._fixtures.get(note.get("fixture", ""))
            if note["note"] == "down" and fixture is not None:
                case = blamed(case, fixture)
        return case

    # --- the run as a whole -------------------------------------------------------------------

    def _frame(self) -> Iterator[str]:
        types = [line["type"] for line in self._seen.log]
        if types[:1] != ["RunStarted"] or types[-1:] != ["RunEnded"]:
            yield f"the log: begins and ends with {types[:1]} and {types[-1:]}"
        for line in self._lines("RunEnded"):
            if line["unfinished"]:
                yield f"the log: unfinished {line['unfinished']}"
        yield from _other("collected", self._cases, self._nodeids.values())
        others = set(self._reported) - set(self._cases)
        if others:
            yield f"reported, but not planned: {sorted(others)}"
        strange = (self._began.keys() | self._ended.keys()) - self._nodeids.keys()
        if strange:
            yield f"the log: tests without a node id: {sorted(strange)}"

    def _counts(self) -> Iterator[str]:
        """Against the terminal's last line."""
        plural = {"error at setup": "errors", "error at teardown": "errors"}
        planned = Counter(
            plural.get(outcome, outcome)
            for case in self._cases.values()
            for outcome in case.outcome
        )
        if planned != self._seen.counts:
            yield f"the terminal: planned {dict(planned)}, but counted {dict(self._seen.counts)}"

    # --- one test -----------------------------------------------------------------------------

    def _of_test(self, number: int, case: Case) -> Iterator[str]:
        yield from self._outcome(case)
        yield from self._as_logged(number, case)
        yield from self._as_noted(case)
        yield from self._in_time(number, case)

    def _outcome(self, case: Case) -> Iterator[str]:
        reports = self._reported[case.test]
        outcome = tuple(filter(None, map(_word, reports)))
        if outcome != case.outcome:
            yield f"planned {case.outcome}, but reported {outcome}"
        text = "\n".join(str(report["longrepr"]) for report in reports)
        is_crash = "crashed while running" in text
        if is_crash != (case.end is End.CRASHED):
            yield f"planned {case.end}, but a crash is {'' if is_crash else 'not '}reported"
        yield from (
            f"no report says {word!r}" for word in (*case.words, *case.undone) if word not in text
        )

    def _as_logged(self, number: int, case: Case) -> Iterator[str]:
        began, ended = self._began[number], self._ended[number]
        if len(began) != 1:
            yield f"the log: begun {len(began)} times"
        if len(ended) != 1:
            yield f"the log: ended {len(ended)} times"
        for end in ended:
            if _end(end) is not case.end:
                yield f"the log: planned {case.end}, but {_end(end)}"
            if any(begin["worker"] != end["worker"] for begin in began):
                yield "the log: begun in one worker, and ended in another"
        logged = Counter((r["when"], r["outcome"]) for r in self._lines_of("Reported", number))
        told = Counter((r["when"], r["outcome"]) for r in self._reported[case.test])
        if (logged - told) or (told - logged).total() != (case.end is not End.DONE):
            yield f"the log: reports {dict(logged)}, but the hooks told {dict(told)}"

    def _lines_of(self, kind: str, test: int) -> list[Facts]:
        return [line for line in self._lines(kind) if line["test"] == test]

    def _as_noted(self, case: Case) -> Iterator[str]:
        noted = Counter(note["note"] for note in self._by_test[case.test])
        planned = {"begin": 1, "ran": int(case.runs), "end": int(case.end is End.DONE)}
        for word, times in planned.items():
            if noted[word] != times:
                yield f"planned to note {word!r} {times} times, but did {noted[word]} times"

    def _in_time(self, number: int, case: Case) -> Iterator[str]:
        """From its beginning to its outcome, without the time in which it waited for an answer."""
        if case.limit is None or not self._began[number] or not self._ended[number]:
            return
        begin, end = self._began[number][0], self._ended[number][0]
        took = end["at"] - begin["at"] - self._waited(begin, end)
        most = case.limit + KILL + DYING + HANDOVERS * self._seen.lateness
        if took > most:
            yield f"took {took:.3f} s of its {case.limit:g} s, and may {most:.3f} s"
        if _end(end) is End.OVERDUE and took < case.limit + TERM:
            yield f"was ended after {took:.3f} s of its {case.limit:g} s, too early for SIGTERM"

    def _waited(self, begin: Facts, end: Facts) -> float:
        """While its worker had no test to take. A question that crosses an assignment on its way
        asks nothing."""
        queued, asked, waited = 0, None, 0.0
        for line in self._by_worker[begin["worker"]]:
            match line["type"]:
                case "Assign":
                    queued += len(line["tests"])
                case "Revoked":
                    queued -= len(line["tests"])
                case "Started":
                    queued -= 1
                case "Asked" if not queued and begin["at"] <= line["at"] <= end["at"]:
                    asked = line["at"]
            if asked is not None and line["type"] in {"Assign", "End"}:
                waited, asked = waited + line["at"] - asked, None
        return waited

    # --- workers ------------------------------------------------------------------------------

    def _workers(self) -> Iterator[str]:
        """Each begins once and ends once, runs no more than it may, and is one process."""
        alive: set[int] = set()
        known: set[int] = set()
        for line in self._seen.log:
            if "worker" not in line:
                continue
            worker = line["worker"]
            if line["type"] == "StartWorker":
                if worker in known:
                    yield f"worker {worker}: started again"
                known.add(worker)
                alive.add(worker)
                if len(alive) > self._plan.workers:
                    yield f"workers {sorted(alive)}: more than {self._plan.workers} at once"
            elif worker not in alive:
                yield f"worker {worker}: {line['type']} of one that does not live"
            elif line["type"] in _LAST:
                alive.remove(worker)
        if alive:
            yield f"workers {sorted(alive)}: no end"
        for worker, begun in _grouped(self._lines("Started"), "worker").items():
            tests = [self._nodeids.get(line["test"], "") for line in begun]
            yield from (f"worker {worker}: {text}" for text in self._of_worker(tests))

    def _of_worker(self, tests: list[str]) -> Iterator[str]:
        most = self._plan.most
        if most is not None and len(tests) > most:
            yield f"ran {len(tests)} tests and may {most}"
        cases = [self._cases[test] for test in tests if test in self._cases]
        yield from (
            f"{case.test} shared its process" for case in cases if case.alone and len(tests) > 1
        )
        pids = {note["pid"] for test in tests for note in self._by_test[test]}
        if len(pids) > 1:
            yield f"was several processes: {sorted(pids)}"

    def _wider_fixtures(self) -> Iterator[str]:
        """Torn down once for each time that they were set up, unless their process died of
        something else before."""
        for pid, notes in _grouped(self._seen.notes, "pid").items():
            standing = Counter[str]()
            for note in notes:
                if note["note"] in {"up", "down"}:
                    standing[note["fixture"]] += 1 if note["note"] == "up" else -1
                    if standing[note["fixture"]] not in {0, 1}:
                        yield f"process {pid}: {note['fixture']} {note['note']} out of turn"
            begun = [note["test"] for note in notes if note["note"] == "begin"]
            last = self._cases.get(begun[-1]) if begun else None
            left = [name for name, count in standing.items() if count > 0]
            if left and (last is None or last.end is End.DONE):
                yield f"process {pid}: never torn down: {left}"

    # --- processes ----------------------------------------------------------------------------

    def _processes(self) -> Iterator[str]:
        """What tests have left is left alone; but of a worker whose time was up all go that are in
        its process group."""
        ended = {
            note["pid"]
            for note in self._seen.notes
            if note["test"] in self._cases and self._cases[note["test"]].end is End.OVERDUE
        }
        children = [note for note in self._seen.notes if note["note"] == "child"]
        for note in children:
            is_to_live = note["detached"] or note["pid"] not in ended
            if (note["child"] in self._seen.left) != is_to_live:
                fate = "to be left alone, but is gone" if is_to_live else "to go, but is left"
                yield f"process {note['child']} of {note['test']}: planned {fate}"
        strange = self._seen.left - {note["child"] for note in children}
        if strange:
            yield f"processes that nobody planned are left: {sorted(strange)}"


def dying(plan: Plan, notes: Iterable[Facts]) -> frozenset[int]:
    """Processes that a run ends with a signal, and whose end nobody waits for."""
    notes = list(notes)
    overdue = {case.test for case in plan.cases if case.end is End.OVERDUE}
    ended = {note["pid"] for note in notes if note["test"] in overdue}
    return frozenset(
        note["child"]
        for note in notes
        if note["note"] == "child" and not note["detached"] and note["pid"] in ended
    )


def _word(report: Facts) -> str:
    """What the terminal calls a phase; empty if it does not show it."""
    when, outcome = str(report["when"]), str(report["outcome"])
    if "wasxfail" in report:
        return {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
    if outcome == "failed":
        return "failed" if when == "call" else f"error at {when}"
    return outcome if when == "call" or outcome != "passed" else ""


def _end(line: Facts) -> End:
    if line["type"] == "Finished":
        return End.DONE
    return End.CRASHED if line["is_crash"] else End.OVERDUE


def _other(what: str, planned: Iterable[str], seen: Iterable[str]) -> Iterator[str]:
    missing, more = Counter(list(planned)), Counter(list(seen))
    if missing != more:
        yield f"{what}: missing {sorted(missing - more)}, too many {sorted(more - missing)}"


def _grouped(lines: Iterable[Facts], key: str) -> defaultdict[Any, list[Facts]]:
    groups: defaultdict[Any, list[Facts]] = defaultdict(list)
    for line in lines:
        if key in line:
            groups[line[key]].append(line)
    return groups


def lines_of(test: str, plan: Plan, seen: Evidence) -> Iterator[str]:
    """The plan of one test, and what each witness says of it."""
    yield from (f"plan     {case}" for case in plan.cases if case.test == test)
    nodeids = [n for line in seen.log if line["type"] == "TestsCollected" for n in line["nodeids"]]
    for number, nodeid in enumerate(nodeids):
        if nodeid == test:
            own = (line for line in seen.log if number in (line.get("test"), line.get("running")))
            yield from (f"log      {line}" for line in own)
    for report in seen.reports:
        if report.get("nodeid") == test:
            short = {key: report[key] for key in ("when", "outcome", "longrepr")}
            yield f"reported {short}"
    yield from (f"noted    {note}" for note in seen.notes if note["test"] == test)
