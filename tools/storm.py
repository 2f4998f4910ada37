"""Fault storms: suites whose tests crash, hang, fail and leak by chance, run and held to a plan.

    python tools/storm.py --runs 100 --seed 1

Run ``i`` has the seed ``seed + i``, which makes its suite, its options, and the plan of what must
be reported of each test. A checker that shares no code with braid reads the event log, the reports
in the controller, and what the tests noted, and looks for processes that are left. Of a run with a
difference the folder is kept, and ``--seed <that> --runs 1`` makes it again.

Exit code 0 if every run was as planned, 1 if one was not.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.storming.check import Evidence, check, lines_of
from tools.storming.plan import Plan
from tools.storming.running import run
from tools.storming.suites import Maker

_MOST = 20
"""Differences of one run that are shown."""


class Storm(NamedTuple):
    """One run and what came of it."""

    plan: Plan
    evidence: Evidence
    seconds: float
    differences: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, check, print; the exit code is described above."""
    asked = _parser().parse_args(arguments)
    base = Path(asked.folder or tempfile.mkdtemp(prefix="storm-")).resolve()
    failed = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        seeds = range(asked.seed, asked.seed + asked.runs)
        try:
            for storm in pool.map(lambda seed: _storm(asked, seed, base / str(seed)), seeds):
                _show(storm, base / str(storm.plan.seed))
                if storm.differences:
                    failed.append(storm.plan.seed)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # the runs that go on clean up
            raise
    if not failed and not asked.folder:
        shutil.rmtree(base)
    wrong = f"; not so: seeds {failed}" if failed else ""
    print(f"{asked.runs - len(failed)} of {asked.runs} runs as planned{wrong}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run fault storms and check them.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first run; the next has one more"
    )
    parser.add_argument("--tests", type=int, default=300, help="in each run")
    parser.add_argument("-n", dest="workers", type=int, default=4, help="braid's -n")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--folder", help="an empty or new one, to keep every run in")
    return parser


def _storm(asked: argparse.Namespace, seed: int, folder: Path) -> Storm:
    plan, files = Maker(seed, asked.tests, asked.workers).make()
    start = time.monotonic()
    evidence = run(plan, files, folder)
    seconds = time.monotonic() - start
    differences = check(plan, evidence)
    if not differences and not asked.folder:
        shutil.rmtree(folder)
    return Storm(plan, evidence, seconds, differences)


def _show(storm: Storm, folder: Path) -> None:
    ended = "as planned" if not storm.differences else f"{len(storm.differences)} DIFFERENCES"
    options = " ".join(each for each in storm.plan.options if "restart" not in each)
    print(f"seed {storm.plan.seed}: {ended}, {storm.seconds:.1f} s, {options}", flush=True)
    if not storm.differences:
        return
    print(f"  {folder}\n  again: --seed {storm.plan.seed} --runs 1")
    for difference in storm.differences[:_MOST]:
        print(f"  {difference}")
    tests = {text.partition(": ")[0] for text in storm.differences[:_MOST]}
    for case in storm.plan.cases:
        if case.test in tests:
            for line in lines_of(case.test, storm.plan, storm.evidence):
                print(f"    {line}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
