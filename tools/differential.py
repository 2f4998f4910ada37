"""Run a test suite serially, twice, and with braid, and compare all that a user could see.

    python tools/differential.py -n 2 -n 8 -- --pyargs networkx
    python tools/differential.py --with "--tasks 20" -- tests

Everything behind ``--`` is pytest's. For each test: the outcome of every phase with its reason,
the text of its failure, captured sections, user properties, keywords, warnings, its case in the
junit file. For the run: the collected tests, the exit code, the counts. What is not the same in
the two serial runs (times, random values, load) cannot be compared: it is set aside by name.

Exit code 0 if nothing else differs, 1 if something does, 2 if a serial run did not end in time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

INSIDE = Path(__file__).resolve().parent / "inside"

Key = tuple[str, str]
"""What is compared: an aspect (``"outcome"``), and of what: a node id, a warning, or ``""``."""

Facts = Mapping[Key, Counter[str]]
"""Everything a run has shown. Several texts for one key, where a node id is not unique."""

_VARYING = (
    (re.compile(r"\x1b\[[\d;]*m"), ""),
    (re.compile(r"<run>/pytest-of-[^/]+/pytest-\d+(/popen-\w+)?"), "<basetemp>"),
    (re.compile(r"(<basetemp>/[^/\s'\"]*?\D)\d+\b"), r"\1<number>"),
    (re.compile(r"/tmp/tmp\w{8}"), "<tmp>"),  # noqa: S108 -- a name to look for
    (re.compile(r"\bTask-\d+\b"), "<task>"),
    (re.compile(r"\b0x(\.\.\.)?[0-9a-f]{4,}\b"), "<address>"),
    (re.compile(r"\b\d+(\.\d+)? ?(s|ms|us|seconds)\b( \(\d+:\d\d:\d\d\))?"), "<seconds>"),
)
_COUNTS = re.compile(r"=* ?((?:\d+ [a-z]+(?:, )?)+|no tests ran) in <seconds> ?=*")


class Run(NamedTuple):
    """One run: its name, how it ended (``None``: not in time), and what it has shown."""

    name: str
    exit: int | None
    seconds: float
    counts: str
    facts: Facts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare, print; the exit code is described above."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="differential-") as temporary:
        folder = Path(asked.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        first = _run(asked, folder, "serial-1", "-p", "no:braid")
        second = _run(asked, folder, "serial-2", "-p", "no:braid")
        if first.exit is None or second.exit is None:
            return 2
        for line in _set_aside_report(set_aside(first, second), asked.most):
            print(line, flush=True)
        same = True
        for name, options in runs_asked(asked):
            braid = _run(asked, folder, name, "-p", "braid", *options)
            found = differences(first, second, braid)
            same = same and braid.exit is not None and not found
            for line in _differences_report(first, braid, found, asked.most):
                print(line, flush=True)
    return 0 if same else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compare a test suite's serial runs with its runs under braid."
    )
    parser.add_argument("-n", dest="workers", action="append", help="braid's -n; may be repeated")
    parser.add_argument(
        "--with", dest="options", action="append", help="other options; may be repeated"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the suite")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each run")
    parser.add_argument("--folder", help="where to leave records, junit files and output")
    parser.add_argument("--most", type=int, default=20, help="differences to print for each run")
    parser.add_argument("pytest", nargs="*", help="pytest's own arguments, behind --")
    return parser


def runs_asked(asked: argparse.Namespace) -> Iterator[tuple[str, list[str]]]:
    """The runs with braid, each with its options."""
    for number, options in enumerate(asked.options or (), 1):
        yield f"with-{number}", shlex.split(options)
    for workers in asked.workers or ([] if asked.options else ["2"]):
        yield f"n{workers}", ["-n", workers]


# --- running ----------------------------------------------------------------------------------


def _run(asked: argparse.Namespace, folder: Path, name: str, *options: str) -> Run:
    """One run of pytest, in the current folder; its temporary files have a folder of their own."""
    temporary = folder / name
    temporary.mkdir(exist_ok=True)
    record, junit, output = (folder / f"{name}{end}" for end in (".jsonl", ".xml", ".txt"))
    for file in (record, junit):
        file.unlink(missing_ok=True)
    command = [asked.python, "-m", "pytest", "-p", "differential_recorder", *options]
    env = {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(INSIDE), os.environ.get("PYTHONPATH")))),
        "DIFFERENTIAL_RECORD": str(record),
        "PYTEST_DEBUG_TEMPROOT": str(temporary),
    }
    start = time.perf_counter()
    status = _bounded([*command, f"--junitxml={junit}", *asked.pytest], env, output, asked.timeout)
    seconds = time.perf_counter() - start
    run = _read(name, status, seconds, temporary, (record, junit, output))
    ended = "did not end in time" if status is None else f"exit code {status}"
    print(f"{name:10} {seconds:7.1f} s   {ended}   {run.counts}", flush=True)
    return run


def _bounded(command: list[str], env: dict[str, str], output: Path, seconds: float) -> int | None:
    """The exit code of ``command``; ``None`` if it had to be killed."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _read(
    name: str, status: int | None, seconds: float, temporary: Path, files: tuple[Path, Path, Path]
) -> Run:
    record, junit, output = files
    steady = Steady(temporary)
    facts: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for aspect, of, text in (*recorded(record), *in_junit(junit)):
        facts[aspect, steady(of)][steady(text)] += 1
    counts = _counts(steady(output.read_text(encoding="utf-8", errors="replace")))
    facts["exit code", ""][str(status)] += 1
    facts["counts line", ""][counts] += 1
    return Run(name, status, seconds, counts, facts)


def _counts(output: str) -> str:
    """``3 failed, 20 passed``: the last line of that kind."""
    found = [match[1] for line in output.splitlines() if (match := _COUNTS.fullmatch(line.strip()))]
    return found[-1] if found else "no line of counts"


class Steady:
    """Takes out of a text what is different in every run, with braid or without."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def __call__(self, text: str) -> str:
        text = text.replace(self._folder, "<run>")
        for pattern, word in _VARYING:
            text = pattern.sub(word, text)
        return text


# --- what a run has shown ---------------------------------------------------------------------


def recorded(file: Path) -> Iterator[tuple[str, str, str]]:
    """Aspect, of what, and text of every fact that the recorder has written."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in lines:
        facts = json.loads(line)
        nodeid = facts.pop("nodeid", "")
        match facts.pop("hook"):
            case "report" | "collect" as hook:
                yield from _of_report(hook, nodeid, facts)
            case "warning":
                text, place = facts.pop("text"), facts.pop("place")
                yield "warning", f"{text} at {place}", f"{nodeid} {_text(facts)}"
            case "end":
                for item in facts.pop("items"):
                    yield "collected", item, ""
                yield "session", "", _text(facts)
            case hook:
                yield hook, nodeid, _text(facts)


def _of_report(hook: str, nodeid: str, facts: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    when = facts.get("when", "collect")
    for aspect in ("longrepr", "crash"):
        text = facts.pop(aspect)
        if text:
            yield aspect, nodeid, f"{when}:\n{text}"
    for aspect in ("sections", "user_properties"):
        for value in facts.pop(aspect, ()):
            yield aspect, nodeid, f"{when}: {_text(value)}"
    yield "keywords", nodeid, f"{when}: {_text(facts.pop('keywords'))}"
    yield f"{hook}: outcome", nodeid, _text(facts)


def in_junit(file: Path) -> Iterator[tuple[str, str, str]]:
    """The same of every test case in a junit file, and of its suite's counts."""
    if not file.exists():
        return
    for suite in ET.parse(file).getroot().iter("testsuite"):
        yield "junit counts", "", _text(_attributes(suite))
        for case in suite.iter("testcase"):
            name = f"{case.get('classname')}::{case.get('name')}"
            children = [
                f"{child.tag} {_text(_attributes(child))}\n{child.text or ''}"
                for child in case.iter()
                if child is not case
            ]
            yield "junit", name, "\n".join([_text(_attributes(case)), *children])


def _attributes(element: ET.Element) -> dict[str, str]:
    return {
        key: value
        for key, value in element.attrib.items()
        if key not in {"time", "timestamp", "hostname"}
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={value[key]}" for key in sorted(value))
    if isinstance(value, list):
        return " = ".join(map(str, value))
    return str(value)


# --- comparing --------------------------------------------------------------------------------


def set_aside(first: Run, second: Run) -> list[Key]:
    """What differs between two serial runs."""
    return sorted(
        key
        for key in first.facts.keys() | second.facts.keys()
        if first.facts.get(key) != second.facts.get(key)
    )


def differences(first: Run, second: Run, braid: Run) -> list[Key]:
    """What the serial runs agree on and the third does not."""
    aside = set(set_aside(first, second))
    return [key for key in set_aside(first, braid) if key not in aside]


def _set_aside_report(keys: list[Key], most: int) -> Iterator[str]:
    if keys:
        yield "set aside, for two serial runs differ in it (random, or sensitive to load):"
    yield from (f"  {aspect}   {_short(of)}" for aspect, of in keys[:most])
    yield from _more(keys, most)


def _differences_report(serial: Run, braid: Run, keys: list[Key], most: int) -> Iterator[str]:
    by_aspect = Counter(aspect for aspect, _ in keys)
    listed = ", ".join(f"{count} of {aspect}" for aspect, count in by_aspect.items())
    yield f"{braid.name}: {listed or 'the same'}"
    for key in keys[:most]:
        aspect, of = key
        yield f"  {aspect}   {_short(of)}"
        ours, theirs = (run.facts.get(key, Counter()) for run in (serial, braid))
        for sign, texts in (("-", ours - theirs), ("+", theirs - ours)):
            yield from (f"    {sign} {_short(text)}" for text in texts.elements())
    yield from _more(keys, most)


def _more(keys: list[Key], most: int) -> Iterator[str]:
    if len(keys) > most:
        yield f"  ... and {len(keys) - most} more (--most)"


def _short(text: str, most: int = 400) -> str:
    text = text.replace("\n", "\n      ")
    return text if len(text) <= most else f"{text[:most]} [...]"


if __name__ == "__main__":
    sys.exit(main())
