"""Five hundred tests that must not run beside others, with crashes and failures among them: an
independent check of the event log."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import pytest

from tests.e2e.running import Stage, staged
from tests.timeline import Span, Timeline

WORKERS = 4
"""Tests at once, and so cpus, where there are no threads."""

LIMITS = {"db": 3, "gpu": 2}
"""Of these there are so many, of all others one."""


@dataclass
class Plan:
    """One test of the suite, and its marks."""

    group: str | None = None
    alone: bool = False
    cpus: int = 1
    writes: dict[str, int] = field(default_factory=dict)
    """Slots by resource."""
    reads: set[str] = field(default_factory=set)
    body: str = "pass"

    def marks(self) -> Iterator[str]:
        if self.group:
            yield f"xdist_group({self.group!r})"
        if self.alone:
            yield "alone"
        if self.cpus > 1:
            yield f"cpus({self.cpus})"
        for name, slots in self.writes.items():
            yield f"resource_lock({name!r}, slots={slots})"
        for name in self.reads:
            yield f"resource_lock({name!r}, mode='read')"

    @property
    def is_plain(self) -> bool:
        return not (self.alone or self.cpus > 1 or self.writes or self.reads)

    def clashes(self, other: Plan) -> bool:
        """Whether they cannot both have what they need."""
        for name in (self.writes.keys() | self.reads) & (other.writes.keys() | other.reads):
            taken = self.writes.get(name, 0) + other.writes.get(name, 0)
            is_read = name in self.reads or name in other.reads
            if taken > LIMITS.get(name, 1) or (taken and is_read):
                return True
        return False


def plans(seed: int, count: int) -> list[Plan]:
    chance = random.Random(seed)
    return [_plan(chance) for _ in range(count)]


def _plan(chance: random.Random) -> Plan:
    plan = Plan()
    if chance.random() < 0.3:
        plan.group = chance.choice("abcdefgh")
    if chance.random() < 0.02:
        plan.alone = True
    if chance.random() < 0.06:
        plan.cpus = chance.randint(2, WORKERS)
    for name in chance.sample(["db", "gpu", "net", "disk"], chance.choice([0, 0, 0, 1, 1, 2])):
        if chance.random() < 0.3:
            plan.reads.add(name)
        else:
            plan.writes[name] = chance.randint(1, LIMITS.get(name, 1))
    kind = chance.random()
    if kind < 0.01:
        plan.body = "os._exit(3)"
    elif kind < 0.015:
        plan.body = "os.kill(os.getpid(), signal.SIGKILL)"
    elif kind < 0.05:
        plan.body = "pytest.fail('on purpose', pytrace=False)"
    else:
        plan.body = f"time.sleep({chance.choice([0, 0.001, 0.003, 0.01])})"
    return plan


def source_of(found: Sequence[Plan]) -> str:
    parts = ["import time"]
    for number, plan in enumerate(found):
        parts += [f"@pytest.mark.{mark}" for mark in plan.marks()]
        parts.append(f"def test_{number}(): {plan.body}")
    return "\n".join(parts) + "\n"


def faults_beside(running: Sequence[Span], found: Sequence[Plan], at_once: int) -> Iterator[str]:
    """What is forbidden of tests that run at the same moment."""
    beside = [found[span.test] for span in running]
    names = [span.name for span in running]
    if len(beside) > 1 and any(plan.alone for plan in beside):
        yield f"not alone: {names}"
    wide = any(plan.cpus > 1 for plan in beside)
    if wide and sum(plan.cpus for plan in beside) > at_once:
        yield f"too many cpus: {names}"
    for resource in {name for plan in beside for name in (*plan.writes, *plan.reads)}:
        taken = sum(plan.writes.get(resource, 0) for plan in beside)
        if taken > LIMITS.get(resource, 1):
            yield f"too many write {resource}: {names}"
        if taken and any(resource in plan.reads for plan in beside):
            yield f"{resource} is read and written: {names}"


def faults(log: Timeline, found: Sequence[Plan], at_once: int = WORKERS) -> list[str]:
    """At the start of each test: what runs then that must not."""
    return [
        fault
        for span in log.spans
        for fault in faults_beside(
            [other for other in log.spans if other.start <= span.start < other.end], found, at_once
        )
    ]


def passed(log: Timeline, found: Sequence[Plan]) -> Iterator[tuple[int, int]]:
    """Pairs of which the first is before the second in line, needs what it needs, and began later.
    Who is alone comes first; the others come in their order. Where several ran in a process that
    died, they ran again, and do not count."""
    times = Counter(span.test for span in log.spans)
    spans = {span.test: span for span in log.spans if times[span.test] == 1}
    for one, other in combinations(sorted(spans), 2):
        is_behind = found[other].alone and not found[one].alone
        first, second = (other, one) if is_behind else (one, other)
        if found[first].clashes(found[second]) and spans[second].start < spans[first].start:
            yield first, second


def longest_wait(log: Timeline) -> tuple[float, float]:
    """Seconds that a test waited that was first in line for what it needs, and the bound: the time
    that all tests together ran."""
    since: dict[int, float] = {}
    waits = [0.0]
    for event in log.of("Wait", "Started"):
        if event["type"] == "Wait":
            since.setdefault(event["test"], event["at"])
        elif event["test"] in since:
            waits.append(event["at"] - since.pop(event["test"]))
    assert not since, f"{sorted(since)} were told to wait, and never ran"
    return max(waits), sum(span.end - span.start for span in log.spans)


@pytest.fixture
def stage(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged(pytester, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    ("mode", "workers", "threads"),
    [("load", 4, 1), ("loadgroup", 4, 1), ("load", 3, 4), ("loadgroup", 3, 4)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_hundred_tests_with_random_needs(  # noqa: PLR0917 -- fixtures and parameters
    stage: Stage, seed: int, mode: str, workers: int, threads: int, request: pytest.FixtureRequest
) -> None:
    found = plans(seed, 500)
    stage.write(test_a=source_of(found))
    (stage.path / "pytest.ini").write_text("[pytest]\nbraid_resources = db:3 gpu:2\n")
    path = stage.base / "log.jsonl"
    options = [f"--dist={mode}", "--max-worker-restart=99", f"--braid-log={path}"]
    if threads > 1:
        options.append(f"--threads={threads}")
    run = stage.run(*options, workers=workers)
    log = Timeline(path)
    assert faults(log, found, workers * threads) == []
    expected = Counter(_outcome(plan) for plan in found)
    assert (run.exit, run.counts) == (1, dict(expected))
    assert {span.test for span in log.spans} == {*range(500)}
    if threads == 1:
        assert len(log.spans) == 500
    if mode == "load":
        assert list(passed(log, found)) == []
    wait, bound = longest_wait(log)
    told = f"longest wait of who is first in line: {wait:.3f} s; all tests ran {bound:.3f} s"
    request.node.add_report_section("call", "waits", told)  # pytest -rP shows it
    assert wait < bound


def _outcome(plan: Plan) -> str:
    return "passed" if plan.body.startswith("time") else "failed"


def test_the_checker_sees_what_is_wrong(tmp_path: Path) -> None:
    """A log that somebody has made up: 0 and 1 write one thing at once, 2 is not alone, 3 and 4
    count for too many, and 1 was passed by 5."""
    found = [
        Plan(writes={"net": 1}),
        Plan(writes={"net": 1}),
        Plan(alone=True),
        Plan(cpus=3),
        Plan(cpus=2),
        Plan(reads={"net"}),
    ]
    times = [(0, 2), (1, 3), (10, 12), (11, 13), (12.5, 14), (0.5, 0.6)]
    lines = ['{"type":"TestsCollected","at":0,"nodeids":["0","1","2","3","4","5"]}']
    moments = [(start, "Started", n) for n, (start, _) in enumerate(times)]
    moments += [(end, "Finished", n) for n, (_, end) in enumerate(times)]
    for at, kind, test in sorted(moments):
        lines.append(f'{{"type":"{kind}","at":{at},"worker":{test},"test":{test}}}')
    (tmp_path / "log").write_text("\n".join(lines))
    log = Timeline(tmp_path / "log")
    assert faults(log, found) == [
        "net is read and written: ['0', '5']",
        "too many write net: ['0', '1']",
        "not alone: ['2', '3']",
        "too many cpus: ['3', '4']",
    ]
    assert list(passed(log, found)) == [(1, 5)]
