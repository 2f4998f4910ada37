"""One invocation of the benchmark: what runs, in which order, for how long."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from time import monotonic
from typing import Any

from bench.contenders import CORES, Installed
from bench.figures import Figures, Spread, others_load, round_bound, spread, summarise
from bench.learning import adaptive, fixtures, history, mixed
from bench.measure import Usage
from bench.specials import (
    controller_cpu,
    scale,
    shared,
    single_test,
    threads,
    waiting,
    worker_latency,
    worker_memory,
)
from bench.stage import Stage
from bench.suites import SCENARIOS
from bench.table import scenario_table, special_table
from bench.tasks import task_cpu, task_memory, task_wakeups, tasks


@dataclass(frozen=True, slots=True)
class Special:
    """A single question: what answers it, and how the answer is printed."""

    title: str
    unit: str
    factor: float
    """From bytes or seconds to the unit."""
    answer: Callable[..., dict[str, Spread]]
    rounds: int


SPECIALS = {
    "memory": Special("PSS of one more worker, heavy imports", "MB", 1e-6, worker_memory, 3),
    "single": Special("-n auto path::test minus plain, wall", "ms", 1e3, single_test, 9),
    "replay": Special("controller's CPU per passing test", "us", 1e6, controller_cpu, 5),
    "scale": Special("50,000 tests, -n 2, of what plain needs", "%", 100, scale, 3),
    "threads": Special("5,000 tests in threads, CPU of what plain needs", "%", 100, threads, 5),
    "waiting": Special("200 sleeping tests, wall above collection", "s", 1, waiting, 5),
    "shared": Special("fixtures once per run, wall", "s", 1, shared, 5),
    "history": Special("one 6 s test last, -n 2, wall by two lanes' bound", "%", 100, history, 9),
    "fixtures": Special("ten parameters, -n 2, wall of what plain needs", "%", 100, fixtures, 9),
    "adaptive": Special("200 sleeping tests, -n adaptive: times as fast", "x", 1, adaptive, 9),
    "mixed": Special("CPU, blocking and async, wall by the lower bound", "%", 100, mixed, 9),
    "tasks": Special("200 waiting async tests, wall above collection", "s", 1, tasks, 5),
    "task-cpu": Special("5,000 async tests, CPU of pytest-asyncio's", "%", 100, task_cpu, 5),
    "task-memory": Special("1,000 live async tests, memory of each", "kB", 1e-3, task_memory, 3),
    "task-wakeups": Special("one 4 s sleep, wake-ups of the loop", "", 1, task_wakeups, 3),
    "latency": Special("a worker's way to its first test", "ms", 1e3, worker_latency, 9),
}


@dataclass(slots=True)
class Session:
    """Contenders, a place for their suites, and the results so far."""

    contenders: Mapping[str, Installed]
    directory: Path
    deadline: float
    """On the monotonic clock: no round is begun that would not end before."""
    results: dict[str, Any] = field(default_factory=dict)
    """As written by ``--json``: seconds, bytes, ratios."""

    def __post_init__(self) -> None:
        self.results |= {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": CORES,
            "packages": {name: one.packages for name, one in self.contenders.items()},
        }

    def answer(self, name: str, *, rounds: int, size: float) -> None:
        """Answer a single question."""
        special = SPECIALS[name]
        _progress(f"{name}: {rounds} rounds")
        spreads = special.answer(self.contenders, self.directory, rounds=rounds, size=size)
        self.results[name] = _plain_values(spreads)
        _say(special_table(special.title, special.unit, special.factor, spreads))

    def race(
        self,
        scenarios: Iterable[str],
        *,
        rounds: int,
        memory_rounds: int,
        size: float,
        workers: int = 0,
    ) -> None:
        """Run suites in turn, one round of each after the other, until done or out of time.

        At least one round of each is run. ``workers`` of 0 leaves ``-n`` to the scenario.
        """
        stages = [self._warm_stage(name, size, workers) for name in scenarios]
        for number in range(memory_rounds):
            for stage in stages:
                _progress(f"{stage.scenario.name}: memory round {number + 1}")
                stage.memory_round()
        for number in range(rounds):
            for stage in stages:
                if not stage.rounds or self._time_left() > stage.slowest_round:
                    _progress(f"{stage.scenario.name}: round {number + 1} of {rounds}")
                    stage.timed_round()
        for stage in stages:
            self._conclude(stage)

    def _warm_stage(self, name: str, size: float, workers: int) -> Stage:
        _progress(f"{name}: warm-up")
        stage = Stage(SCENARIOS[name], self.contenders, self.directory, size, workers)
        stage.warm_up()
        return stage

    def _time_left(self) -> float:
        return self.deadline - monotonic()

    def _conclude(self, stage: Stage) -> None:
        bound = spread(round_bound(one, stage.longest_test, CORES) for one in stage.rounds)
        figures = summarise(stage.rounds, longest_test=stage.longest_test, cores=CORES)
        self.results.setdefault("scenarios", {})[stage.scenario.name] = {
            "tests": stage.tests,
            "size": stage.size,
            "workers": stage.workers,
            "longest_test": stage.longest_test,
            "lower_bound": bound._asdict(),
            "others_load": others_load(stage.rounds),
            "figures": _plain_values(figures),
            "rounds": [_plain_values(one) for one in stage.rounds],
            "memory_rounds": [_plain_values(one) for one in stage.memory_rounds],
        }
        _say(scenario_table(stage, figures, bound))


def _plain_values(values: Mapping[str, Spread | Usage | Figures]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in sorted(values.items())}


def _plain_value(value: Spread | Usage | Figures) -> dict[str, Any]:
    match value:
        case Spread():
            return value._asdict()
        case Usage():
            return asdict(value)
        case Figures():
            return {one.name: getattr(value, one.name)._asdict() for one in fields(value)}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
