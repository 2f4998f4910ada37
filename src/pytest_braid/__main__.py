"""``python -m pytest_braid``: what can be done without a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple


class Subcommand(NamedTuple):
    """``module`` has ``add_arguments(parser)`` and ``run(options)``, which returns the exit code;
    it is imported only where it is asked for."""

    name: str
    help: str
    module: str


SUBCOMMANDS = (
    Subcommand(
        "history",
        "what earlier runs have taught: show it, export, import, merge it",
        "pytest_braid.history.command",
    ),
    Subcommand(
        "timeline",
        "draw a run from its log (--braid-log): a page for any browser, or a trace for Perfetto",
        "pytest_braid.report.timeline_command",
    ),
    Subcommand(
        "explain",
        "where a test of a logged run ran, when, why there, and what it waited for",
        "pytest_braid.report.explain_command",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what ``arguments`` ask for; return the exit code."""
    given = sys.argv[1:] if arguments is None else [*arguments]
    parser = argparse.ArgumentParser(prog="python -m pytest_braid")
    parsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for each in SUBCOMMANDS:
        own = parsers.add_parser(each.name, help=each.help)
        if each.name in given[:1]:
            import_module(each.module).add_arguments(own)
    options = parser.parse_args(given)
    (chosen,) = (each for each in SUBCOMMANDS if each.name == options.subcommand)
    return int(import_module(chosen.module).run(options))


if __name__ == "__main__":
    sys.exit(main())
