"""A suite made by chance: fixtures of every scope, tests that wait, fail, skip and print."""

from __future__ import annotations

import random
from pathlib import Path
from textwrap import indent

_IMPORTS = "import unittest\nimport pytest\nfrom stress_notes import body, fixture\n\n"
_SCOPES = ("session", "package", "module", "class", "function")
_LONGEST = 0.008
"""Seconds of sleep."""
_PER_PACKAGE, _PER_MODULE, _PER_CLASS = 4, 25, 8
_KINDS = {"passes": 84, "fails": 6, "skips": 5, "xfails": 5}
_ENDS = {"passes": 90, "fails": 2, "skips": 2, "fails later": 6}
"""Of so many fixtures in a hundred."""
_ALONE = 0.03
"""Share of the tests that step aside."""
_PARAMETRIZED = 0.15
_PARAMETERS = 2
"""Fixtures with parameters that one test may have."""
_SURE = "session_sure"
"""A fixture that passes, of which there is one."""


class Maker:
    """Writes a suite of so many tests; the same of the same seed."""

    def __init__(self, seed: int, tests: int) -> None:
        self._chance = random.Random(seed)
        self._left = tests
        self._number = 0
        self._parametrized: dict[str, frozenset[str]] = {}
        """By the name of a fixture: those with parameters that it is made from."""

    def write(self, folder: Path) -> None:
        """Write it into an empty folder."""
        (folder / "pytest.ini").write_text(
            "[pytest]\nlog_level = WARNING\nmarkers =\n    thread_unsafe(reason): runs alone\n"
        )
        wide = [_SURE]
        lines = [self._fixture(_SURE, "session", [])]
        self._add_fixtures("session", 7, wide, lines)
        (folder / "conftest.py").write_text(_IMPORTS + "\n".join(lines))
        number = 0
        while self._left > 0:
            self._write_package(folder / f"package_{number}", wide)
            number += 1

    def _write_package(self, folder: Path, wide: list[str]) -> None:
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        visible, lines = [*wide], list[str]()
        self._add_fixtures("package", 3, visible, lines)
        (folder / "conftest.py").write_text(_IMPORTS + "\n".join(lines))
        for number in range(_PER_PACKAGE):
            self._write_module(folder / f"test_{number}.py", visible)

    def _write_module(self, path: Path, wide: list[str]) -> None:
        visible, lines = [*wide], list[str]()
        for scope in ("module", "class", "function"):
            self._add_fixtures(scope, 3, visible, lines)
        end = self._left - _PER_MODULE
        while self._left > max(0, end):
            group = [self._test(visible, "self, ") for _ in range(_PER_CLASS)]
            lines += [f"class TestGroup{self._next()}:", indent("\n".join(group), "    ")]
            lines += [self._test(visible, "") for _ in range(_PER_CLASS)]
        lines.append(self._case())
        path.write_text(_IMPORTS + "\n".join(lines))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _choice(self, weights: dict[str, int]) -> str:
        return self._chance.choices([*weights], [*weights.values()])[0]

    def _some(self, names: list[str], most: int) -> list[str]:
        """Some of them, with few parameters in all: tests multiply."""
        some = self._chance.sample(names, min(len(names), self._chance.randint(0, most)))
        while len(self._parameters(some)) > _PARAMETERS:
            some.pop()
        return some

    def _parameters(self, names: list[str]) -> frozenset[str]:
        return frozenset[str]().union(*(self._parametrized[name] for name in names))

    def _sleep(self) -> str:
        return f"{self._chance.uniform(0, _LONGEST):.4f}"

    def _add_fixtures(self, scope: str, count: int, visible: list[str], lines: list[str]) -> None:
        for _ in range(count):
            name = f"{scope}_{self._next()}"
            lines.append(self._fixture(name, scope, self._some(visible, 2)))
            visible.append(name)

    def _fixture(self, name: str, scope: str, needs: list[str]) -> str:
        """With parameters, it does not fail in its teardown: that may be in the setup of a test
        that has other ones, serially."""
        own = {name} if self._chance.random() < _PARAMETRIZED else set[str]()
        self._parametrized[name] = self._parameters(needs) | own
        ends = _ENDS | ({"fails later": 0} if self._parametrized[name] else {})
        end = "passes" if name == _SURE else self._choice(ends)
        return (
            f"@pytest.fixture(scope={scope!r}{', params=[0, 1]' if own else ''})\n"
            f"def {name}({', '.join(['request', *needs])}):\n"
            f"    yield from fixture(request, [{', '.join(needs)}], {self._sleep()}, {end!r})\n"
        )

    def _test(self, visible: list[str], first: str) -> str:
        needs = self._some(visible, 3)
        self._left -= 2 ** len(self._parameters(needs))
        alone = self._chance.random() < _ALONE
        mark = "@pytest.mark.thread_unsafe(reason='stress')\n" if alone else ""
        return (
            f"{mark}def test_{self._next()}({first}{', '.join(['request', *needs])}):\n"
            f"    body(request.node.nodeid, [{', '.join(needs)}], {self._sleep()}, "
            f"{self._choice(_KINDS)!r}, alone={alone})\n"
        )

    def _case(self) -> str:
        self._left -= 1
        number = self._next()
        end = self._choice(_KINDS | {"xfails": 0})
        return (
            f"class TestCase{number}(unittest.TestCase):\n"
            f"    def test_{number}(self):\n"
            f"        body(self.id(), [], {self._sleep()}, {end!r})\n"
        )


def is_shared(key: str) -> bool:
    """Whether a fixture of this key is wider than a test."""
    return key.partition(" ")[0] in _SCOPES[:-1]
