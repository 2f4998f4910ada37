"""What a process tree costs, counted by a process of its own: the counting reaps all children."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent

import pytest

from bench.contenders import REPOSITORY
from bench.measure import parse_pss

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts by Linux's means")

BURN = """
    import os, sys, time

    def burn(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
"""
MEASURE = """
    import json, os, sys
    from dataclasses import asdict
    from pathlib import Path
    from bench import measure

    measure.RUN_LIMIT, measure.ORPHAN_GRACE = map(float, sys.argv[3:])
    usage = measure.measure(
        [sys.executable, "-c", sys.argv[1]],
        directory=Path.cwd(),
        environment=os.environ,
        output=Path(os.devnull),
        memory=sys.argv[2] == "memory",
    )
    print(json.dumps(asdict(usage)))
"""


@dataclass
class Measured:
    wall: float
    cpu: float
    others_cpu: float
    peak_pss: int | None
    exit_code: int


def run_measured(
    code: str, kind: str, *, limit: float = 60, grace: float = 30
) -> subprocess.CompletedProcess[str]:
    program = dedent(BURN) + dedent(code)
    return subprocess.run(
        [sys.executable, "-c", dedent(MEASURE), program, kind, str(limit), str(grace)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def measured(code: str, kind: str = "time") -> Measured:
    done = run_measured(code, kind)
    assert not done.returncode, done.stderr
    return Measured(**json.loads(done.stdout))


def test_children_and_orphans_are_counted_once() -> None:
    cost = measured("""
        if not os.fork():
            if os.fork():
                os._exit(0)     # its child is an orphan
            os.setsid()
            burn(0.3)
            os._exit(0)
        if not os.fork():
            burn(0.3)
            os._exit(0)
        os.wait(), os.wait()    # not for the orphan
        burn(0.3)
        sys.exit(3)
    """)
    assert 0.9 <= cost.cpu < 1.2
    assert cost.exit_code == 3
    assert cost.peak_pss is None


def test_wall_time_ends_with_the_command_not_with_its_orphans() -> None:
    cost = measured("""
        if not os.fork():
            burn(1)
            os._exit(0)
    """)
    assert cost.wall < cost.cpu


def test_memory_shared_by_a_fork_is_counted_once() -> None:
    cost = measured(
        """
        block = b"x" * 100_000_000
        os.fork()
        burn(0.4)
        """,
        "memory",
    )
    assert cost.peak_pss is not None
    assert 100e6 < cost.peak_pss < 150e6


def test_a_process_left_behind_is_killed_and_is_an_error() -> None:
    done = run_measured("if not os.fork(): time.sleep(600)", "time", grace=0.1)
    assert done.returncode == 1
    assert "\nleft processes behind after 0.1 s; killed: psutil.Process(pid=" in done.stderr


def test_a_command_that_hangs_is_killed_and_is_an_error() -> None:
    done = run_measured("time.sleep(600)", "time", limit=0.1)
    assert done.returncode == 1
    assert "\nhad not ended after 0.1 s; killed: psutil.Process(pid=" in done.stderr


def test_pss_is_read_in_bytes() -> None:
    rollup = b"5600-7fff ---p 00000000 00:00 0  [rollup]\nRss:    1640 kB\nPss:     412 kB\n"
    assert parse_pss(rollup + b"Pss_Dirty:    112 kB\n") == 412 * 1024


def test_a_zombie_has_no_memory() -> None:
    assert parse_pss(b"") == 0
