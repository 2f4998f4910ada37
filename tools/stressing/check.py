"""Compares what a run in threads has reported and noted with a serial run. It knows nothing of
braid."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tools.stressing.suite import is_shared

_OF = re.compile(r"<([^>]*)>")


class Run(NamedTuple):
    """What one run has left: reports, notes of setups and teardowns, and its exit code."""

    reports: Sequence[Mapping[str, Any]]
    notes: Sequence[Mapping[str, str]]
    exit: int


class Shown(NamedTuple):
    """A run, in an order that does not matter."""

    outcomes: Mapping[str, Sequence[str]]
    """Node id to the outcome of each phase and what it names as its reason."""
    output: Mapping[str, Sequence[str]]
    """Node id to its lines of output; without those of shared fixtures."""
    teardowns: Counter[str]
    """Failures in the teardown of shared fixtures, which the last user happens to report."""
    shared_output: Counter[str]
    ups: Counter[str]
    downs: Counter[str]


def shown(run: Run) -> Shown:
    """What must be the same."""
    outcomes: dict[str, list[str]] = {}
    output: dict[str, list[str]] = {}
    found = Shown(outcomes, output, Counter(), Counter(), Counter(), Counter())
    for report in run.reports:
        outcomes.setdefault(report["nodeid"], []).append(_outcome(report, found.teardowns))
        _add_output(report, output.setdefault(report["nodeid"], []), found.shared_output)
    for note in run.notes:
        (found.ups if note["what"] == "up" else found.downs)[note["key"]] += 1
    return found


def _outcome(report: Mapping[str, Any], teardowns: Counter[str]) -> str:
    """In words, without what the teardown of shared fixtures has added."""
    planned: list[str] = report["planned"]
    if report["when"] == "teardown":
        shared = [text for text in planned if is_shared(_key(text))]
        teardowns.update(shared)
        planned = [text for text in planned if text not in shared]
        if shared and not planned:
            return "teardown passed False []"
    return f"{report['when']} {report['outcome']} {report['expected']} {planned}"


def _add_output(report: Mapping[str, Any], own: list[str], shared: Counter[str]) -> None:
    """Sections grow from phase to phase: what the last report has is all of it."""
    if report["when"] != "teardown":
        return
    for title, text in report["sections"]:
        for line in text.splitlines():
            if is_shared(_key(line)):
                shared[line] += 1
            else:
                own.append(f"{title}: {line}")


def _key(line: str) -> str:
    match = _OF.search(line)
    return match[1] if match else ""


def differences(serial: Run, other: Run) -> Iterator[str]:
    """What is not as it was, or not as often; of fixtures: not once."""
    was, now = shown(serial), shown(other)
    if serial.exit != other.exit:
        yield f"exit code {other.exit}, and {serial.exit} serially"
    yield from _of_mappings("outcome", was.outcomes, now.outcomes)
    yield from _of_mappings("output", was.output, now.output)
    yield from _of_counts("a shared fixture's failure", set(was.teardowns), now.teardowns, now.ups)
    yield from _of_setups(was, now)
    yield from _of_lines(now)


def _of_mappings(
    what: str, was: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    for nodeid in sorted(was.keys() | now.keys()):
        if was.get(nodeid) != now.get(nodeid):
            yield f"{what} of {nodeid}: {now.get(nodeid)}\n    serially: {was.get(nodeid)}"


def _of_counts(
    what: str, expected: Iterable[str], told: Counter[str], ups: Counter[str]
) -> Iterator[str]:
    for text in sorted({*expected, *told}):
        if told[text] != ups[_key(text)]:
            yield f"{what}: {text} told {told[text]} times, set up {ups[_key(text)]} times"


def _of_setups(was: Shown, now: Shown) -> Iterator[str]:
    """Each once; pytest itself sets an instance up again when another choice of its parameters
    came between."""
    for key in sorted(was.ups.keys() | now.ups.keys()):
        if not min(was.ups[key], 1) <= now.ups[key] <= was.ups[key]:
            yield f"{key}: set up {now.ups[key]} times, and {was.ups[key]} serially"
        wanted = now.ups[key] if was.downs[key] else 0
        if now.downs[key] != wanted:
            yield f"{key}: torn down {now.downs[key]} times, and set up {now.ups[key]} times"


def _of_lines(now: Shown) -> Iterator[str]:
    """What shared fixtures print stands in the report of some test, as often as they did it."""
    counts = (("up", now.ups), ("down", now.downs))
    wanted = Counter(
        {f"<{key}> {word}": n for word, counter in counts for key, n in counter.items()}
    )
    wanted = Counter({line: n for line, n in wanted.items() if is_shared(_key(line))})
    for line in sorted(wanted.keys() | now.shared_output.keys()):
        if wanted[line] != now.shared_output[line]:
            yield f"{line!r} is shown {now.shared_output[line]} times, and {wanted[line]} expected"
