"""One suite with its contenders: written once for each, warmed up once, run in rounds."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bench.contenders import Installed, clean_environment
from bench.figures import COLLECT
from bench.measure import BenchError, Usage, measure
from bench.suites import Scenario


@dataclass(slots=True)
class Stage:
    """A scenario, a copy of its suite for each contender, and what the runs of it have cost."""

    scenario: Scenario
    contenders: Mapping[str, Installed]
    directory: Path
    size: float = 1.0
    workers: int | str = 0
    """Argument of ``-n``; 0 stands for the scenario's own."""
    tests: int = 0
    longest_test: float = 0.0
    """Seconds, setup and teardown included, in the warm-up of plain."""
    rounds: list[dict[str, Usage]] = field(default_factory=list)
    memory_rounds: list[dict[str, Usage]] = field(default_factory=list)
    slowest_round: float = 0.0
    """Seconds."""

    def __post_init__(self) -> None:
        self.workers = self.workers or self.scenario.workers
        for name in self.contenders:
            suite = self.suite(name)
            suite.mkdir(parents=True)
            self.tests = self.scenario.write(suite, self.size)

    def suite(self, name: str) -> Path:
        """The copy of the suite that belongs to the contender of this name."""
        return self.directory / self.scenario.name / name

    def warm_up(self) -> None:
        """Write bytecode and caches; take the length of the longest test."""
        junit = self.directory / f"{self.scenario.name}.xml"
        for name in self.contenders:
            self.run(name, *([f"--junitxml={junit}"] if name == "plain" else []))
        if junit.exists():
            self.longest_test = longest_test(junit.read_text())

    def timed_round(self) -> None:
        """Run every contender, and plain's collection, in an order drawn for this round."""
        started = monotonic()
        order = [*self.contenders, COLLECT]
        random.Random(len(self.rounds)).shuffle(order)
        self.rounds.append(
            {name: self.collect() if name == COLLECT else self.run(name) for name in order}
        )
        self.slowest_round = max(self.slowest_round, monotonic() - started)

    def memory_round(self) -> None:
        """Run every contender but the control while its memory is sampled."""
        sampled = [name for name in self.contenders if name != "control"]
        self.memory_rounds.append({name: self.run(name, memory=True) for name in sampled})

    def collect(self) -> Usage:
        """Plain's ``--collect-only -q``."""
        options = ["--collect-only", "-q"]
        return self.pytest("plain", options, outcome=f"{self.tests} tests? collected")

    def run(self, name: str, *options: str, memory: bool = False) -> Usage:
        """The whole suite, as the contender of this name runs it."""
        own = self.contenders[name].contender.options(self.workers)
        return self.pytest(name, [*own, *options], outcome=f"{self.tests} passed", memory=memory)

    def pytest(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        outcome: str,
        exit_code: int = 0,
        memory: bool = False,
    ) -> Usage:
        """Run pytest in the contender's copy of the suite.

        :param outcome: pattern that the end of pytest's output must match.
        :raises BenchError: if output or exit code are others.
        """
        output = self.directory / "output.txt"
        usage = measure(
            [str(self.contenders[name].python), "-m", "pytest", *arguments],
            directory=self.suite(name),
            environment=clean_environment(self.directory),
            output=output,
            memory=memory,
        )
        ending = output.read_text(errors="replace")[-4_000:]
        if usage.exit_code != exit_code or not re.search(rf"\b{outcome}\b", ending):
            raise BenchError(
                f"{name} on {self.scenario.name!r}: exit code {usage.exit_code} instead"
                f" of {exit_code}, or no {outcome!r} at the end of its output:\n{ending}"
            )
        return usage


def longest_test(junit: str) -> float:
    """Seconds of the longest test in the text of a junit file."""
    cases = ET.fromstring(junit).iter("testcase")  # noqa: S314 - written by the run just made
    return max(float(case.get("time", "0")) for case in cases)
