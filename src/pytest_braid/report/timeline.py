"""A run as a picture: a page of its own (``.html``), or a trace for Perfetto (``.json``)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from pytest_braid.report.story import Life, Ran, Story

SUFFIXES = (".html", ".json")
"""Endings of files that can be written."""

PHASES = ("setup", "call", "teardown")
_DATA = "/*DATA*/"
_TITLE = "<!--TITLE-->"
_encode = msgspec.json.encode


def write_timeline(story: Story, path: Path) -> None:
    """Write what the ending of ``path`` asks for.

    Raises:
        ValueError: it is none of ``SUFFIXES``.
        OSError: the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{str(path)!r} ends neither in .html nor in .json")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = page(story) if path.suffix == ".html" else _encode(trace(story)).decode()
    path.write_text(text, encoding="utf-8")


# --- the page -------------------------------------------------------------------------------------


def page(story: Story) -> str:
    """The page, with all that it needs in it."""
    template = files(__package__).joinpath("timeline.html").read_text(encoding="utf-8")
    data = _encode(picture(story)).decode().replace("<", "\\u003c")  # `</script>` in a node id
    title = f"{len(story.nodeids)} tests, {story.last - story.first:.1f} s"
    head, tail = template.replace(_TITLE, title).split(_DATA)
    return f"{head}{data}{tail}"


def picture(story: Story) -> dict[str, Any]:
    """What the page draws; times are whole microseconds since the run began.

    Tests are columns of numbers, for there may be many. ``of`` is a test's place in ``names``,
    where each name is a file and the rest of the node id; ``why`` one in ``whys``.
    """
    lanes = _lanes(story)
    places = {lane: place for place, lane in enumerate(lanes)}
    found: dict[str, int] = {}
    names = [
        (found.setdefault(_file(nodeid), len(found)), _rest(nodeid)) for nodeid in story.nodeids
    ]
    whys: dict[str, int] = {}
    rows = [_row(story, ran, places, whys) for ran in story.ran]
    columns = [*zip(*rows, strict=True)] or [()] * len(_COLUMNS)
    run = story.run
    return {
        "run": "" if run is None else run.run,
        "mode": "" if run is None else str(run.mode),
        "wall": 0.0 if run is None else run.wall,
        "length": _micros(story, story.last),
        "collected": None if story.collected is None else _micros(story, story.collected),
        "whole": story.is_whole,
        "files": list(found),
        "names": names,
        "whys": list(whys),
        "lanes": [_lane_name(story, lane) for lane in lanes],
        "outcomes": _OUTCOMES,
        "tests": dict(zip(_COLUMNS, columns, strict=True)),
        "lives": [_life(story, life, places) for life in story.lives.values()],
        "fixtures": [
            {
                "name": made.name,
                "full": made.fixture,
                "lane": places[_slot(story, made.worker), made.strand],
                "from": _micros(story, made.start),
                "to": _micros(story, made.end),
                "of": _number(story, made.test),
            }
            for made in story.made
            if (_slot(story, made.worker), made.strand) in places
        ],
        "waits": [
            {
                "from": _micros(story, span.start),
                "to": _micros(story, span.end),
                "what": span.what,
                "of": _number(story, span.test),
                "by": [_number(story, test) for test in span.by],
            }
            for span in story.waits.spans()
        ],
        "stops": [(_micros(story, at), reason) for at, reason in story.stops],
    }


_OUTCOMES = (
    "passed", "skipped", "rerun", "failed", "error", "crashed", "timed out", "cut", "running"
)  # fmt: skip
_COLUMNS = (
    "of", "lane", "start", "length", "outcome", "setup", "call", "teardown", "waited", "why"
)  # fmt: skip


def _row(
    story: Story, ran: Ran, places: dict[tuple[int, int], int], whys: dict[str, int]
) -> tuple[Any, ...]:
    start = _micros(story, ran.start)
    end = _micros(story, story.last if ran.end is None else ran.end)
    phases = {phase.when: round(phase.duration * 1e6) for phase in ran.phases}
    return (
        _number(story, ran.test),
        places[_lane(story, ran)],
        start,
        max(0, end - start),
        _OUTCOMES.index(ran.outcome),
        *(phases.get(when, 0) for when in PHASES),
        round(ran.waited * 1e6),
        whys.setdefault(story.why(ran), len(whys)),
    )


def _lanes(story: Story) -> list[tuple[int, int]]:
    """Slots, and the strands that were used in them; each is a line of the picture."""
    used = {(life.slot, 0) for life in story.lives.values()} | {
        _lane(story, it) for it in story.ran
    }
    threads = {slot for slot, strand in used if strand}
    mains = {_lane(story, it) for it in story.ran if not it.strand}
    return sorted(lane for lane in used if lane[1] or lane in mains or lane[0] not in threads)


def _lane(story: Story, ran: Ran) -> tuple[int, int]:
    return _slot(story, ran.worker), ran.strand


def _slot(story: Story, worker: int) -> int:
    return story.lives[worker].slot if worker in story.lives else worker


def _lane_name(story: Story, lane: tuple[int, int]) -> str:
    slot, strand = lane
    has_tasks = story.run is not None and story.run.tasks
    named = story.strand(strand) if has_tasks else strand
    return f"gw{slot} · {named}" if strand else f"gw{slot}"


def _life(story: Story, life: Life, places: dict[tuple[int, int], int]) -> dict[str, Any]:
    first = min(place for lane, place in places.items() if lane[0] == life.slot)
    last = max(place for lane, place in places.items() if lane[0] == life.slot)
    return {
        "worker": life.worker,
        "name": life.name,
        "lanes": (first, last),
        "from": _micros(story, life.ordered),
        "ready": None if life.ready is None else _micros(story, life.ready),
        "to": _micros(story, story.last if life.over is None else life.over),
        "end": life.end,
    }


def _micros(story: Story, at: float) -> int:
    return max(0, round((at - story.first) * 1e6))


def _number(story: Story, test: int) -> int:
    return test % len(story.nodeids) if story.nodeids else test


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _rest(nodeid: str) -> str:
    return nodeid.partition("::")[2]


# --- the trace ------------------------------------------------------------------------------------


_WAITING = 1 << 20
"""The number of the process that a trace has for what tests waited for."""


def trace(story: Story) -> dict[str, Any]:
    """In the format of Chrome's trace viewer: a process is a worker, a thread a strand of it."""
    return {"traceEvents": [*_trace_events(story)], "displayTimeUnit": "ms"}


def _trace_events(story: Story) -> Iterator[dict[str, Any]]:
    for slot, strand in _lanes(story):
        yield _named("process_name", slot, 0, f"worker gw{slot}")
        yield _named("thread_name", slot, strand, story.strand(strand) if strand else "main thread")
    for life in story.lives.values():
        yield from _trace_life(story, life)
    for ran in story.ran:
        yield from _trace_test(story, ran)
    yield from _trace_fixtures(story)
    spans = story.waits.spans()
    if spans:
        yield _named("process_name", _WAITING, 0, "what tests waited for")
    for span in spans:
        at = _micros(story, span.start)
        yield {
            "name": story.nodeid(span.test),
            "cat": "wait",
            "ph": "X",
            "pid": _WAITING,
            "tid": span.test,
            "ts": at,
            "dur": _micros(story, span.end) - at,
            "args": {"for": span.what, "because of": [story.nodeid(by) for by in span.by]},
        }
    for moment, reason in story.stops:
        yield _instant("stop", 0, _micros(story, moment), "g", {"reason": reason})


def _trace_fixtures(story: Story) -> Iterator[dict[str, Any]]:
    for made in story.made:
        at = _micros(story, made.start)
        facts = {"fixture": made.fixture, "for": story.nodeid(made.test)}
        lane = (_slot(story, made.worker), made.strand)
        took = _micros(story, made.end) - at
        yield _whole(f"fixture {made.name}", "fixture", lane, (at, took), facts)


def _trace_life(story: Story, life: Life) -> Iterator[dict[str, Any]]:
    at = _micros(story, life.ordered)
    if life.ready is not None:
        ready = _micros(story, life.ready) - at
        yield _whole("start of the worker", "worker", (life.slot, 0), (at, ready), {})
    if life.over is not None:
        facts = {"process": life.worker}
        yield _instant(f"worker {life.end}", life.slot, _micros(story, life.over), "p", facts)


def _trace_test(story: Story, ran: Ran) -> Iterator[dict[str, Any]]:
    lane = _lane(story, ran)
    at = _micros(story, ran.start)
    length = _micros(story, story.last if ran.end is None else ran.end) - at
    facts = {"outcome": ran.outcome, "why there": story.why(ran)}
    yield _whole(story.nodeid(ran.test), "test", lane, (at, length), facts)
    for phase in ran.phases:
        took = min(round(phase.duration * 1e6), length)
        yield _whole(phase.when, "phase", lane, (at, took), {"outcome": phase.outcome})
        at, length = at + took, length - took


def _whole(
    name: str, kind: str, lane: tuple[int, int], span: tuple[int, int], args: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "cat": kind,
        "ph": "X",
        "pid": lane[0],
        "tid": lane[1],
        "ts": span[0],
        "dur": span[1],
        "args": args,
    }


def _named(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


def _instant(name: str, pid: int, at: int, scope: str, args: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name, "cat": "run", "ph": "i", "s": scope, "pid": pid, "tid": 0, "ts": at,
        "args": args,
    }  # fmt: skip
