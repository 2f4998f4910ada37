"""Runs a suite serially and with braid, and compares all that a user or a plugin could see.

What may differ is written here and nowhere else: times, the directory ``popen-gw0`` in the paths
of temporary files, the order in which results come, the line that names a worker, and the line
that counts the workers.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

INSIDE = Path(__file__).parent / "inside"
"""Modules for the runs' own search path."""

_ANSI = re.compile(r"\x1b\[[\d;]*m")
_SECTION = re.compile(r"=+ (.+?) =+")
_BLOCK = re.compile(r"_{2,} (.+?) _{2,}")
_BESIDE = re.compile(
    r"\[gw\d+\] \w+ -- Python .*|-+ generated xml file: .* -+|-- Docs: .*"
    r"|(?:threads|tasks|threads and tasks): \d+ of \d+ tests .*|\d+ stepped aside: .*"
    r"|braid: (\d+ workers?( x .*)?: .* in .*|lanes were busy for .*|no order .*)"
)
"""Lines that are no part of the section they stand in."""
_TIMES = {"duration", "start", "stop"}
_OURS = {"Interrupted while running"}
"""Sections that a serial run does not have."""
_MOST_LINES = 60
"""Of one difference, in a message."""
_COUNTS = re.compile(r"collect(ed|ing) .*")
_VARYING = (
    (re.compile(r"popen-gw\d+(-\d+)?/"), ""),
    (re.compile(r"\b\d+\.\d+s\b( \(\d+:\d\d:\d\d\))?"), "<seconds>"),
    (re.compile(r"\b\d+\.\d{5,}(e-\d+)?\b"), "<number>"),
    (re.compile(r"\bCaptureManager _method=.*"), "CaptureManager ..."),  # a descriptor's number
    (re.compile(r"\b0x[0-9a-f]{6,}\b"), "<address>"),
)


def plain(text: str) -> str:
    """Without colours."""
    return _ANSI.sub("", text)


def _steady(text: str) -> str:
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


def _steady_value(value: Any) -> Any:
    if isinstance(value, str):
        return _steady(value)
    return [_steady_value(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Run:
    """What one run left behind."""

    exit: int
    lines: list[str]
    """Its standard output, as it came."""
    errors: str
    """Its standard error."""
    record: list[dict[str, Any]]
    """What hooks told ``e2e_recorder``, in order."""
    junit: Path | None
    cache: dict[str, Any]
    """The contents of ``.pytest_cache``: values by key."""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def record_of(self, hook: str) -> list[dict[str, Any]]:
        """What one hook told, in order, as it came."""
        return [facts for facts in self.record if facts["hook"] == hook]

    def told(self, hook: str) -> list[dict[str, Any]]:
        """What one hook told, in order, without what may differ."""
        return [
            {key: _steady_value(value) for key, value in facts.items() if key not in _TIMES}
            for facts in self.record_of(hook)
        ]

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """For each node id, the outcomes of its reports, in order: ``"setup passed, ..."``."""
        found: dict[str, list[str]] = {}
        for facts in self.told("logreport"):
            found.setdefault(facts["nodeid"], []).append(f"{facts['when']} {facts['outcome']}")
        return {nodeid: ", ".join(reports) for nodeid, reports in found.items()}

    @cached_property
    def sections(self) -> dict[str, list[str]]:
        """The terminal's sections below the tests' results, by title: that line, sorted blocks."""
        found: dict[str, list[str]] = {}
        blocks: list[str] | None = None
        title = ""
        for line in map(_steady, self.lines):
            bare = plain(line)
            if (match := _SECTION.fullmatch(bare)) and match[1] != "test session starts":
                title = match[1]
                blocks = found.setdefault(title, [line, ""])
            elif blocks is not None and _BLOCK.fullmatch(bare):
                blocks.append(line)
            elif blocks is not None and not _BESIDE.fullmatch(bare):
                blocks[-1] += "\n" + line
        return {title: [top, *_sorted(title, rest)] for title, (top, *rest) in found.items()}

    @cached_property
    def counts(self) -> list[str]:
        """The lines that count the collected tests."""
        bare = [plain(line).rstrip() for line in self.lines]
        return [line for line in bare if _COUNTS.fullmatch(line)]

    @cached_property
    def junit_cases(self) -> list[str]:
        """The junit file as sorted texts: one of the suite and one for each case."""
        if self.junit is None or not self.junit.exists():
            return []
        texts = []
        for suite in ET.parse(self.junit).getroot().iter("testsuite"):
            cases = suite.findall("testcase")
            for element in (suite, *cases):
                for name in ("time", "timestamp", "hostname"):
                    element.attrib.pop(name, None)
            texts += [_steady(ET.tostring(case, encoding="unicode")) for case in cases]
            for case in cases:
                suite.remove(case)
            texts.append(ET.tostring(suite, encoding="unicode"))
        return sorted(_ANSI.sub("", text) for text in texts)


_BY_LINE = re.compile("short test summary|slowest")


def _sorted(title: str, blocks: list[str]) -> list[str]:
    """In an order that says nothing of when results came."""
    if title == "warnings summary":
        paragraphs = "\n".join(blocks).strip().split("\n\n")
        return sorted("\n".join(sorted(text.splitlines())) for text in paragraphs)
    if _BY_LINE.search(title) or (title == "FAILURES" and len(blocks) == 1):  # --tb=line
        return sorted("\n".join(blocks).splitlines())
    return sorted(blocks)


def differences(serial: Run, braid: Run) -> dict[str, tuple[Any, Any]]:
    """What differs, each with the serial and the parallel value."""
    pairs: dict[str, tuple[Any, Any]] = {
        "exit": (serial.exit, braid.exit),
        "counts": (serial.counts, braid.counts),
        "junit": (serial.junit_cases, braid.junit_cases),
        "errors": (_steady(serial.errors), _steady(braid.errors)),
    }
    for hook in (
        "logreport",
        "logstart",
        "logfinish",
        "collectreport",
        "deselected",
        "warning",
        "interrupt",
        "internalerror",
        "sessionfinish",
    ):
        pairs[hook] = (_counted(serial.told(hook)), _counted(braid.told(hook)))
    for title in (serial.sections.keys() | braid.sections.keys()) - _OURS:
        pairs[f"== {title} =="] = (serial.sections.get(title), braid.sections.get(title))
    return {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}


def _counted(facts: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(fact, sort_keys=True) for fact in facts)


_UNSET = (
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_XDIST_AUTO_NUM_WORKERS",
    "PYTHON_CPU_COUNT",
    "PYTEST_PLUGINS",
    "PYTEST_CURRENT_TEST",
    "CI",
    "BUILD_NUMBER",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
)


@dataclass
class Suite:
    """A suite in a directory of its own, and the ways to run it."""

    pytester: pytest.Pytester
    base: Path
    """Where its runs have their files: not below the suite, which must not find them."""
    plugins: tuple[str, ...] = ()
    """Installed plugins that its runs load, besides braid; no others are loaded."""
    env: dict[str, str] = field(default_factory=dict)
    writes_junit: bool = True
    gives_basetemp: bool = True
    """Whether its runs are told where their temporary directories are to be."""

    @property
    def path(self) -> Path:
        return self.pytester.path

    def write(self, **files: str) -> None:
        """Write modules: ``write(test_a="...")``."""
        self.pytester.makepyfile(**files)

    def conftest(self, source: str) -> None:
        self.pytester.makeconftest(source)

    def plugin(self, name: str, source: str) -> None:
        """Write a plugin that is no code of the suite's own, and let its runs load it."""
        folder = self.base / "plugins"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        self.plugins = (*self.plugins, name)

    def ini(self, text: str) -> None:
        self.pytester.makeini("[pytest]\n" + text)

    def serial(self, *args: str) -> Run:
        return self._run("-p", "no:braid", *args)

    def braid(self, *args: str, workers: int | str = 2) -> Run:
        """``E2E_OPTIONS`` adds options to every such run."""
        more = shlex.split(os.environ.get("E2E_OPTIONS", ""))
        return self._run("-p", "braid", "-n", str(workers), *more, *args)

    def plain(self, *args: str, stdin: bytes = b"") -> Run:
        """Run it with these arguments and no others."""
        return self._run(*args, stdin=stdin)

    def script(self, *words: str) -> list[str]:
        """Run a script in the suite's directory and return the lines it printed."""
        with pytest.MonkeyPatch.context() as patch:
            self.set_environment(patch)
            result = self.pytester.run(sys.executable, *words, timeout=30)
        assert result.ret == 0, result.errlines
        return result.outlines

    def same(
        self, *args: str, workers: int = 2, forget: bool = True, ours: tuple[str, ...] = ()
    ) -> tuple[Run, Run]:
        """Run it serially and with braid, and require that nothing differs; ``ours`` are options
        that a serial run does not know."""
        __tracebackhide__ = True
        if forget:
            self.forget()
        serial = self.serial(*args)
        if forget:
            self.forget()
        braid = self.braid(*args, *ours, workers=workers)
        found = differences(serial, braid)
        if found:
            pytest.fail(
                "\n\n".join(_told(what, *pair) for what, pair in found.items()), pytrace=False
            )
        return serial, braid

    def forget(self) -> None:
        """Remove what earlier runs left for later ones."""
        shutil.rmtree(self.path / ".pytest_cache", ignore_errors=True)

    def set_environment(self, patch: pytest.MonkeyPatch) -> None:
        """As on a clean machine, even if this suite runs under braid itself."""
        for name in _UNSET:
            patch.delenv(name, raising=False)
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(INSIDE), str(self.base / "plugins")]))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        for name, value in self.env.items():
            patch.setenv(name, value)

    def _run(self, *args: str, stdin: bytes = b"") -> Run:
        record, junit, temporary = (self.base / n for n in ("record.jsonl", "junit.xml", "temp"))
        for file in (record, junit):
            file.unlink(missing_ok=True)
        gives = self.gives_basetemp and not any(arg.startswith("--basetemp") for arg in args)
        writes = self.writes_junit and "no:junitxml" not in args
        with pytest.MonkeyPatch.context() as patch:
            self.set_environment(patch)
            patch.setenv("E2E_RECORD", str(record))
            result = self.pytester.run(
                sys.executable,
                "-m",
                "pytest",
                *(word for name in ("e2e_recorder", *self.plugins) for word in ("-p", name)),
                *([f"--basetemp={temporary}"] if gives else []),
                *([f"--junitxml={junit}"] if writes else []),
                *args,
                timeout=30,
                stdin=stdin,
            )
        errors = "\n".join(line for line in result.errlines if line)
        facts = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        kept = self.base / f"junit-{len(list(self.base.iterdir()))}.xml"
        if junit.exists():
            junit.rename(kept)
        return Run(
            exit=int(result.ret),
            lines=result.outlines,
            errors=errors,
            record=[json.loads(line) for line in facts],
            junit=kept,
            cache=_cache(self.path / ".pytest_cache" / "v"),
        )


def _cache(values: Path) -> dict[str, Any]:
    return {
        str(file.relative_to(values)): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(values.rglob("*"))
        if file.is_file()
    }


def _told(what: str, serial: Any, braid: Any) -> str:
    if isinstance(serial, Counter):
        serial, braid = sorted((serial - braid).elements()), sorted((braid - serial).elements())
    lines = difflib.unified_diff(_lines(serial), _lines(braid), "serial", "braid", "", "", 1, "")
    return "\n".join((what, *list(lines)[:_MOST_LINES]))


def _lines(value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [str(value)]
    return [line for text in texts for line in _spread(text).splitlines()]


def _spread(text: str) -> str:
    """A recorded fact over several lines."""
    try:
        return json.dumps(json.loads(text), indent=1, sort_keys=True).replace("\\n", "\n    ")
    except ValueError:
        return text
