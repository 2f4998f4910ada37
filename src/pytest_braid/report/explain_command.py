"""``python -m pytest_braid explain LOG TEST``: where a test ran, when, why there, and what it has
waited for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_braid.report.explain import explain
from pytest_braid.report.reading import LogError, read_log
from pytest_braid.report.story import Story


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", type=Path, metavar="LOG", help="what --braid-log has written")
    parser.add_argument(
        "test",
        nargs="?",
        default="",
        metavar="TEST",
        help="a node id, its beginning or a part of it; default: all tests that waited",
    )


def run(options: argparse.Namespace) -> int:
    """Do what was asked; return the exit code."""
    story = Story()
    try:
        read_log(options.log, story)
    except (LogError, OSError) as error:
        sys.stderr.write(f"python -m pytest_braid explain: {error}\n")
        return 1
    readers = [story, *story.of_tests] if options.test else [*story.of_tests]
    lines = explain(story.nodeids, options.test, readers)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
