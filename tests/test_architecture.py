"""A ring imports what its row of the table allows, and nothing else.

Read from the syntax trees, so an import inside a function, under ``TYPE_CHECKING`` or by
``importlib.import_module("...")`` counts like any other: a dependency that is written down late is
still a dependency.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "pytest_braid"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

PURE = frozenset({"pytest", "threading", "asyncio", "time", "os"})
ANYTHING = None


class Row(NamedTuple):
    """What one ring may import of ours (itself always), and what it must not import of others."""

    ours: frozenset[str] | None
    banned: frozenset[str] = frozenset()


def may(*ours: str, banned: frozenset[str] = frozenset()) -> Row:
    return Row(frozenset(ours), banned)


# docs/how-it-works.md shows this table and says what each ring is for.
RINGS: dict[str, Row] = {
    "model": may(banned=PURE),
    "schedule": may("model", banned=PURE | {"random"}),
    "wire": may("model", banned=frozenset({"pytest"})),
    "report": may("model", banned=frozenset({"pytest"})),
    "history": may("model", banned=frozenset({"pytest"})),
    "seam": may("model"),
    "capture": may("model", "seam"),
    "fixtures": may("model", "seam", "capture"),
    "worker": may("model", "wire", "seam", "capture", "fixtures"),
    "zygote": may("model", "wire", "seam", "worker"),
    "control": may("model", "schedule", "wire", "seam", "report", "history"),
    "compat": may("model", "options", "hookspecs", "fixtures"),
    # Single modules beside the rings.
    "local": may("model", "options", "wire", "seam", "worker", "control", "compat", "report"),
    "options": may("model"),
    "hookspecs": may("model"),
    "__main__": may("history", "report"),  # by name only, one for each subcommand
    "plugin": Row(ANYTHING),
    "__init__": Row(ANYTHING),  # lazily only: see test_importing_the_package_imports_nothing_else
}


class Import(NamedTuple):
    """One imported module, by its full name, and the line that names it."""

    module: str
    line: int


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Yield what ``source``, the text of ``module``, imports anywhere.

    ``from a.b import c`` yields ``a.b.c``: whether ``c`` is a module cannot be seen here, and does
    not matter for the question which ring, or which foreign package, is reached for.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=base, names=names, level=level):
                above = _ancestor(module, level - is_package) if level else ""
                start = ".".join(filter(None, (above, base)))
                yield from (Import(f"{start}.{alias.name}", node.lineno) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module" | "importorskip"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, node.lineno)


def _ancestor(module: str, levels: int) -> str:
    return module.rsplit(".", levels)[0] if levels else module


def ring_of(module: str) -> str:
    """Return the ring of one of our modules: the first name below the package."""
    _, *below = module.split(".")
    return below[0] if below else "__init__"


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Return a sentence for each import of ``source`` that the row of its ring does not allow."""
    ring = ring_of(module)
    if ring not in RINGS:
        return [f"{module}: no ring of this name; the table in {Path(__file__).name} has them all"]
    row = RINGS[ring]
    found = []
    for name, line in imports(source, module, is_package=is_package):
        root = name.partition(".")[0]
        if root == PACKAGE:
            # A public name taken from the package itself counts as reaching for `__init__`.
            target = ring_of(name) if ring_of(name) in RINGS else "__init__"
            wrong = row.ours is not ANYTHING and target not in row.ours | {ring}
        elif root == "_pytest":
            wrong = ring != "seam"
        else:
            wrong = root in row.banned
        if wrong:
            found.append(f"{module}, line {line}: {ring} must not import {name}")
    return found


def modules() -> dict[str, Path]:
    """Return every module of the package by its full name."""
    return {".".join((PACKAGE, *_below(path))): path for path in sorted(SOURCE.rglob("*.py"))}


def _below(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@pytest.mark.parametrize("module", modules())
def test_imports_keep_to_the_table(module: str) -> None:
    path = modules()[module]
    found = violations(
        path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py"
    )
    assert not found, "\n".join(found)


def test_the_table_has_no_cycle() -> None:
    below = {ring: row.ours or frozenset() for ring, row in RINGS.items()}
    while below:
        free = {ring for ring, ours in below.items() if not ours & below.keys()}
        assert free, f"each of these rings may import another of them: {sorted(below)}"
        below = {ring: ours for ring, ours in below.items() if ring not in free}


def test_banned_modules_are_known_by_their_names() -> None:
    """A misspelt name in the table would ban nothing."""
    banned = set().union(*(row.banned for row in RINGS.values()))
    assert banned <= sys.stdlib_module_names | {"pytest"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("schedule.core", "import pytest_braid.wire.codec"),
        ("schedule.core", "from pytest_braid import wire"),
        ("schedule.core", "from pytest_braid import TestSpec"),
        ("schedule.core", "from pytest_braid.wire import codec"),
        ("schedule.core", "from ..wire import codec"),
        ("schedule.core", "from .. import wire"),
        ("schedule.core", "def late():\n    import pytest_braid.wire"),
        ("schedule.core", "if TYPE_CHECKING:\n    from pytest_braid.wire import Codec"),
        ("schedule.core", "import importlib\nimportlib.import_module('pytest_braid.wire')"),
        ("schedule.core", "import random"),
        ("schedule.core", "from time import monotonic"),
        ("model.tests", "import os.path"),
        ("wire.codec", "def late():\n    import pytest"),
        ("control.loop", "from pytest_braid.worker import main"),
        ("worker.strands.main", "from ...zygote import fork"),
        ("options", "from pytest_braid.control import loop"),
        ("plugin", "from _pytest.config import Config"),
        ("attic.old", ""),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert len(violations(source, f"{PACKAGE}.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("schedule.core", "from pytest_braid.model.events import Event"),
        ("schedule.core", "from pytest_braid.schedule.slices import cut"),
        ("schedule.core", "from .slices import cut\nimport heapq"),
        ("model.tests", "import msgspec"),
        ("worker.main", "import os\nimport pytest\nfrom pytest_braid.wire import codec"),
        ("seam.reports", "from _pytest.reports import TestReport"),
        ("plugin", "from pytest_braid.control import loop"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, source: str) -> None:
    assert violations(source, f"{PACKAGE}.{module}") == []


def test_a_package_counts_its_relative_imports_from_itself() -> None:
    inside = "from .slices import cut"
    assert violations(inside, f"{PACKAGE}.schedule", is_package=True) == []
    outside = "from ..wire import codec"
    assert violations(outside, f"{PACKAGE}.schedule", is_package=True) == [
        f"{PACKAGE}.schedule, line 1: schedule must not import {PACKAGE}.wire.codec"
    ]


def test_the_documentation_shows_this_table() -> None:
    page = (SOURCE.parents[1] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    _, table = page.split("<!-- imports: begin -->\n")
    table, _ = table.split("<!-- imports: end -->")
    shown = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert {ring: (ours, banned) for ring, ours, banned in shown} == {
        f"`{ring}`": (_in_words(row.ours), ", ".join(sorted(row.banned)))
        for ring, row in RINGS.items()
        if ring != "__init__"
    }


def _in_words(ours: frozenset[str] | None) -> str:
    if ours is ANYTHING:
        return "anything"
    return ", ".join(f"`{ring}`" for ring in sorted(ours)) or "nothing"
