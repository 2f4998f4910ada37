"""``python -m pytest_braid history``: look at what is remembered, take it elsewhere and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from pytest_braid.history.file import FOLDER, NAME, change, dump, load, parse
from pytest_braid.history.record import History, TestRecord, merged

_CACHE = ".pytest_cache"

_SORTS: dict[str, Callable[[TestRecord], float]] = {
    "duration": lambda record: record.duration,
    "waits": lambda record: (record.waits or 0.0) * record.duration,
    "memory": lambda record: record.memory,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``history``."""
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="pytest's cache directory; default: the nearest .pytest_cache, from here upwards",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="{show,export,import,merge}")
    parser.set_defaults(kind="show", begin="", count=20, sort="duration")
    show = kinds.add_parser("show", help="the tests that took longest, and the fixtures")
    show.add_argument("begin", nargs="?", default="", metavar="NODEID")
    show.add_argument("--count", type=int, default=20, metavar="N", help="so many; 0: all")
    show.add_argument("--sort", choices=[*_SORTS], default="duration")
    export = kinds.add_parser("export", help="write the history to a file")
    export.add_argument("file", metavar="FILE", help="'-': standard output")
    take = kinds.add_parser("import", help="put the history of a file in the place of this one")
    take.add_argument("file", metavar="FILE")
    merge = kinds.add_parser("merge", help="merge the histories of files into this one")
    merge.add_argument("files", nargs="+", metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """Do what was asked; return the exit code."""
    path = (options.cache_dir or _nearest()) / "d" / FOLDER / NAME
    try:
        for line in _lines(options, path):
            sys.stdout.write(f"{line}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"python -m pytest_braid history {options.kind}: {error}\n")
        return 1
    return 0


def _nearest() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _CACHE).is_dir():
            return folder / _CACHE
    return here / _CACHE


def _lines(options: argparse.Namespace, path: Path) -> Iterator[str]:
    match options.kind:
        case "export":
            yield from _export(_known(path), options.file)
        case "import":
            taken = _read(options.file)
            change(path, lambda _: taken)
            yield f"{_size(taken)} put into {path}"
        case "merge":
            for name in options.files:
                more = _read(name)
                after = change(path, partial(merged, more))
                yield f"{name}: {_size(more)}; {_size(after.history)} are in {path} now"
        case _:
            yield from show(_known(path), options.begin, options.count, options.sort)


def _known(path: Path) -> History:
    if not path.exists():
        raise ValueError(
            f"there is no history at {path}: a run with workers (-n N) writes one, or name "
            "pytest's cache directory: --cache-dir DIR"
        )
    loaded = load(path)
    if loaded.fault is not None:
        raise ValueError(loaded.fault)
    return loaded.history


def _read(name: str) -> History:
    try:
        return parse(Path(name).read_bytes())
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _export(history: History, name: str) -> Iterator[str]:
    if name == "-":
        yield dump(history).decode().rstrip("\n")
        return
    Path(name).write_bytes(dump(history))
    yield f"{_size(history)} written to {name}"


def _size(history: History) -> str:
    return f"{_count(history.tests, 'test')} and {_count(history.fixtures, 'fixture')}"


def _count(records: Mapping[str, object], what: str) -> str:
    return f"{len(records)} {what}{'' if len(records) == 1 else 's'}"


def show(history: History, begin: str, count: int, sort: str) -> Iterator[str]:
    """A table of the tests whose node ids begin so, and one of the fixtures that tests share."""
    chosen = {name: one for name, one in history.tests.items() if name.startswith(begin)}
    if not chosen:
        yield f"no test in this history has a node id that begins with {begin!r}"
        return
    total = sum(record.duration for record in chosen.values())
    waited = sum(record.duration * (record.waits or 0.0) for record in chosen.values())
    share = f", of which they waited {waited / total:.0%}" if total else ""
    yield f"{_count(chosen, 'test')}, {total:.2f} s{share}"
    yield "seconds  setup   call    teardown  waits  memory   runs"
    names = sorted(chosen, key=lambda name: (-_SORTS[sort](chosen[name]), name))
    for name in names[: count or None]:
        yield _row(name, chosen[name])
    if not begin and history.fixtures:
        yield from _fixtures(history, count)


def _row(name: str, record: TestRecord) -> str:
    waits = "" if record.waits is None else f"{record.waits:.0%}"
    memory = f"{record.memory / 1e6:.1f} MB" if record.memory else ""
    return (
        f"{record.duration:<8.3f} {record.setup:<7.3f} {record.call:<7.3f} {record.teardown:<9.3f} "
        f"{waits:<6} {memory:<8} {record.runs:<5} {name}"
    )


def _fixtures(history: History, count: int) -> Iterator[str]:
    yield f"{_count(history.fixtures, 'fixture')} that tests share"
    costs: Mapping[str, float] = {name: one.setup for name, one in history.fixtures.items()}
    for name in sorted(costs, key=lambda name: (-costs[name], name))[: count or None]:
        yield f"{costs[name]:<8.3f} {name}"
