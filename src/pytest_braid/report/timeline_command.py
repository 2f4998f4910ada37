"""``python -m pytest_braid timeline LOG [OUT]``: draw a run from its log."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_braid.report.reading import LogError, read_log
from pytest_braid.report.story import Story
from pytest_braid.report.timeline import write_timeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", type=Path, metavar="LOG", help="what --braid-log has written")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        metavar="OUT",
        help="FILE.html, a page for any browser, or FILE.json, a trace for Perfetto; default: "
        "beside LOG, as .html",
    )


def run(options: argparse.Namespace) -> int:
    """Do what was asked; return the exit code."""
    out: Path = options.out or options.log.with_suffix(".html")
    story = Story()
    try:
        read_log(options.log, story)
        write_timeline(story, out)
    except (LogError, OSError, ValueError) as error:
        sys.stderr.write(f"python -m pytest_braid timeline: {error}\n")
        return 1
    whole = "" if story.is_whole else " (the log ends before the run does)"
    sys.stdout.write(f"{out}: {len(story.ran)} tests{whole}\n")
    return 0
