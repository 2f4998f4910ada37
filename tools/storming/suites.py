"""Suites made by chance: their files, and the plan of what must be reported of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import indent
from typing import NamedTuple

from tools.storming.faults import CRASHES, HANGS, LEAKS, NEEDS_FORK, PASSES, PLAIN, Fault, fatal
from tools.storming.plan import Case, End, Fixture, Plan

_IMPORTS = """\
import ctypes, os, signal, sys, tempfile, threading, time
import pytest
from storm_notes import leave_child, leave_copy, note

"""

_MODES = ("load", "worksteal", "loadscope", "loadfile", "loadgroup")

_RARE = ("-s", "--maxschedchunk=2", "--no-loadscope-reorder", "--capture=sys")

_COMMON_LIMIT = 5.0
"""Seconds of ``--test-timeout``: it means every test, so it is far from what a quick one takes."""

_LIMITS = (1.0, 1.5)
"""Seconds of a mark, which only those tests have that hang."""

_KINDS = {"passes": 62.0, "plain": 18.0, "crashes": 10.0, "leaks": 8.0, "hangs": 2.0}
"""Of so many in a hundred."""


class Manner(NamedTuple):
    """How a run is made. Spawned workers are slow to come: fewer crash, and none has one test."""

    options: tuple[str, ...]
    is_spawned: bool
    common_limit: float | None
    most: int | None


class Wide(NamedTuple):
    """A fixture of a class, a module or the session; ``fault``: of its setup."""

    name: str
    scope: str
    body: str
    fault: Fault | None = None


@dataclass
class File:
    """A test file in the making."""

    name: str
    blocks: list[str] = field(default_factory=list)
    fixtures: list[Wide] = field(default_factory=list)

    def text(self) -> str:
        return _IMPORTS + "\n\n".join([*map(_wide, self.fixtures), *self.blocks]) + "\n"


class Maker:
    """Makes one suite of so many tests; the same of the same seed."""

    def __init__(self, seed: int, tests: int, workers: int) -> None:
        self._seed = seed
        self._tests = tests
        self._workers = workers
        self._chance = random.Random(seed)
        self._manner = self._choose_manner()
        self._cases: list[Case] = []
        self._fixtures: list[Fixture] = []
        self._number = 0
        self._wide_ones = 0

    def make(self) -> tuple[Plan, dict[str, str]]:
        """The plan, and the text of each file by its name."""
        conftest = File("conftest.py")
        conftest.fixtures = [self._wide("session") for _ in range(self._chance.choice((0, 1, 2)))]
        files = [conftest]
        while self._number < self._tests:
            files.append(self._file(f"test_{len(files):02}.py", conftest.fixtures))
        plan = Plan(
            self._seed,
            self._manner.options,
            self._workers,
            self._manner.most,
            tuple(self._cases),
            tuple(self._fixtures),
        )
        return plan, {file.name: file.text() for file in files}

    def _happens(self, likelihood: float) -> bool:
        return self._chance.random() < likelihood

    def _choose_manner(self) -> Manner:
        chance = self._chance
        options = [f"--dist={chance.choice(_MODES)}", "--max-worker-restart=10000"]
        is_spawned = self._happens(0.1)
        options.append(f"--start-method={'spawn' if is_spawned else 'fork'}")
        most = chance.choice([None, None, None, 50, 20, 5, 1])
        if is_spawned and most is not None:
            most = 50
        if most == 1 and self._happens(0.5):
            options.append("--forked")
        elif most is not None:
            options.append(f"--max-tests-per-worker={most}")
        common = chance.choice([None, None, _COMMON_LIMIT])
        if common is not None:
            options.append(f"--test-timeout={common:g}")
        options += [option for option in _RARE if self._happens(0.15)]
        return Manner(tuple(options), is_spawned, common, most)

    # --- files --------------------------------------------------------------------------------

    def _file(self, name: str, outer: list[Wide]) -> File:
        chance = self._chance
        file = File(name, fixtures=[self._wide("module") for _ in range(chance.choice((0, 1, 1)))])
        for _ in range(chance.randrange(1, 6)):
            known = [*outer, *file.fixtures]
            count = min(chance.randrange(1, 16), self._tests - self._number)
            if self._happens(0.3):
                file.blocks.append(self._class(file, known, count))
            else:
                file.blocks += [self._test(f"{name}::", known, "") for _ in range(count)]
        return file

    def _class(self, file: File, known: list[Wide], count: int) -> str:
        name = f"TestClass{self._number}"
        own = [self._wide("class") for _ in range(self._chance.choice((0, 1)))]
        file.fixtures += own
        tests = [self._test(f"{file.name}::{name}::", [*known, *own], "self") for _ in range(count)]
        known_here = "\n\n".join(tests) or "pass"
        return f"class {name}:\n{indent(known_here, '    ')}"

    def _wide(self, scope: str) -> Wide:
        """One that works, or whose teardown fails, or that nobody survives who asks for it."""
        self._wide_ones += 1
        name = f"{scope}_{self._wide_ones}"
        kinds = ["works"] * 4 + ["raises", "crashes", "setup raises", "setup crashes"]
        kind = self._chance.choice(kinds)
        up, down = f"note('up', fixture='{name}')", f"note('down', fixture='{name}')"
        crash = self._chance.choice(sorted(CRASHES))
        match kind:
            case "setup raises":
                text = f"{name} cannot be set up"
                fault = PLAIN["setup fails"]._replace(words=(text,))
                return Wide(name, scope, f"raise OSError('{text}')", fault)
            case "setup crashes":
                fault = fatal(End.CRASHED, crash, CRASHES[crash])["setup"]
                return Wide(name, scope, crash, fault)
            case "raises":
                end, last = End.DONE, f"raise OSError('{name} cannot be torn down')"
                words = (f"{name} cannot be torn down",)
            case "crashes":
                end, last, words = End.CRASHED, crash, (CRASHES[crash],)
            case _:
                return Wide(name, scope, f"{up}\nyield\n{down}")
        self._fixtures.append(Fixture(name, end, words))
        return Wide(name, scope, f"{up}\nyield\n{down}\n{last}")

    # --- tests --------------------------------------------------------------------------------

    def _test(self, prefix: str, known: list[Wide], first: str) -> str:
        """Its code; what is planned of it is noted."""
        name = f"test_{self._number:03}"
        self._number += 1
        kind, fault = self._fault()
        wanted = self._wanted(known, fault)
        if wanted is not None and wanted.fault is not None:
            kind, fault = f"{wanted.name}'s setup", wanted.fault._replace(fixture="")
        limit, marks = self._limit(fault)
        alone = self._happens(0.0 if self._manner.is_spawned else 0.04)
        marks += ["@pytest.mark.forked"] if alone else []
        if self._happens(0.2):
            marks.append(f"@pytest.mark.xdist_group('{self._chance.choice('abc')}')")
        function = f"of_{name}" if fault.fixture else name
        case = Case(
            f"{prefix}{name}",
            kind,
            fault.outcome,
            (
                *(word.format(function=function) for word in fault.words),
                *_words(f"{prefix}{name}", fault.end, limit),
            ),
            fault.undone,
            fault.end,
            fault.runs,
            limit or self._manner.common_limit,
            alone,
            "xfail" in fault.mark,
        )
        self._cases.append(case)
        arguments = [first, f"of_{name}" if fault.fixture else "", wanted.name if wanted else ""]
        return "\n".join(_code(name, fault, [*filter(None, arguments)], [*marks, fault.mark]))

    def _fault(self) -> tuple[str, Fault]:
        chance = self._chance
        weights = dict(_KINDS)
        if self._manner.is_spawned:
            weights["crashes"], weights["hangs"] = 2.0, 1.0
        (kind,) = chance.choices(list(weights), list(weights.values()))
        match kind:
            case "plain":
                name = chance.choice(sorted(PLAIN))
                return name, PLAIN[name]
            case "leaks":
                left_out = NEEDS_FORK if self._manner.is_spawned else set[str]()
                leak = chance.choice([leak for leak in LEAKS if leak not in left_out])
                return f"leaks: {leak}", PASSES._replace(body=leak)
            case "crashes" | "hangs":
                return self._fatal(kind)
            case _:
                return "passes", PASSES

    def _fatal(self, kind: str) -> tuple[str, Fault]:
        chance = self._chance
        if kind == "crashes":
            how = chance.choice(sorted(CRASHES))
            places = fatal(End.CRASHED, how, CRASHES[how])
        else:
            how = chance.choice(sorted(HANGS))
            places = fatal(End.OVERDUE, how, *HANGS[how])
        place = chance.choice(["call", *places])
        return f"{kind} in {place}: {how}", places[place]

    def _wanted(self, known: list[Wide], fault: Fault) -> Wide | None:
        """A wider fixture that it asks for; what fails in its setup must be all that fails."""
        if not known or self._happens(0.5):
            return None
        wide = self._chance.choice(known)
        is_fit = wide.fault is None or (fault is PASSES and self._happens(0.3))
        return wide if is_fit else None

    def _limit(self, fault: Fault) -> tuple[float | None, list[str]]:
        """The mark that a hang needs, unless the limit of all tests is left to end it."""
        if fault.end is not End.OVERDUE:
            return None, []
        if self._manner.common_limit is not None and self._happens(0.3):
            return None, []
        limit = self._chance.choice(_LIMITS)
        return limit, [f"@pytest.mark.timeout({limit:g})"]


def _words(test: str, end: End, limit: float | None) -> Iterator[str]:
    if end is End.CRASHED:
        yield f"crashed while running '{test}': its process"
    elif end is End.OVERDUE:
        yield "Timeout "
        yield f"'{test}' still ran"
        yield f"after {limit:g} s (its mark timeout)" if limit else "(--test-timeout)"


def _code(name: str, fault: Fault, arguments: list[str], marks: list[str]) -> Iterator[str]:
    if fault.fixture:
        first = "self" if arguments[0] == "self" else ""
        yield f"@pytest.fixture\ndef of_{name}({first}):\n{indent(fault.fixture, '    ')}\n"
    yield from filter(None, marks)
    yield f"def {name}({', '.join(arguments)}):\n    note('ran')\n{indent(fault.body, '    ')}"


def _wide(fixture: Wide) -> str:
    head = f"@pytest.fixture(scope='{fixture.scope}')\ndef {fixture.name}():\n"
    return head + indent(fixture.body, "    ") + "\n"
