"""Single questions, each with a suite of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import BRAID, Installed
from bench.figures import Spread, spread
from bench.latency import death_to_next_test, fork_to_ready, largest_overlap, parse_log
from bench.measure import BenchError, Usage
from bench.stage import Stage
from bench.suites import CRASHING, LARGE, LINGERING, MANY, ONCE, SCENARIOS, WAITING

FEW_WORKERS, MANY_WORKERS = 2, 6
"""Workers of the two runs whose memory is compared."""

CLOCK = """\
import os, time
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session):
    if hasattr(session.config, "workerinput"):
        return (yield)
    before = time.process_time()
    try:
        return (yield)
    finally:
        with open(os.path.join(os.path.dirname(__file__), "cpu.txt"), "w") as file:
            file.write(repr((time.process_time() - before) / session.testscollected))
"""
"""A plugin that writes the CPU seconds that the controller's loop spends per test."""


SCALES = """\
import os, resource
import pytest

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        with open(os.path.join(os.path.dirname(__file__), "peak.txt"), "w") as file:
            file.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""
"""A plugin that writes the peak of the resident memory of the process the user has started."""


def worker_memory(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Bytes that one more worker adds to the peak of the tree, by contender."""
    parallel = {name: one for name, one in contenders.items() if one.contender.parallel}
    stage = Stage(LINGERING, parallel, directory, size)
    stage.warm_up()

    def one_more(name: str) -> float:
        few, many = (_peak(stage, name, workers) for workers in (FEW_WORKERS, MANY_WORKERS))
        return (many - few) / (MANY_WORKERS - FEW_WORKERS)

    return _by_contender([{name: one_more(name) for name in parallel} for _ in range(rounds)])


def single_test(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Seconds of wall that ``-n auto path::test`` takes longer than plain, by contender."""
    stage = Stage(SCENARIOS["trivial"], contenders, directory / "single", size)

    def run(name: str) -> Usage:
        options = contenders[name].contender.options("auto")
        return stage.pytest(name, [*options, "test_000.py::test_0000"], outcome="1 passed")

    def one_round() -> dict[str, float]:
        walls = {name: run(name).wall for name in contenders}
        plain = walls.pop("plain")
        return {name: wall - plain for name, wall in walls.items()}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


def controller_cpu(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """CPU seconds of the controller per passing test: waiting, decoding, scheduling, hooks."""
    if BRAID.name not in contenders:
        raise BenchError("only braid has a controller that this measures")
    braid = {BRAID.name: contenders[BRAID.name]}
    stage = Stage(SCENARIOS["trivial"], braid, directory / "replay", size)
    suite = stage.suite(BRAID.name)
    (suite / "bench_clock.py").write_text(CLOCK)

    def run(*options: str) -> float:
        stage.run(BRAID.name, "-p", "bench_clock", *options)
        return float((suite / "cpu.txt").read_text())

    def one_round() -> dict[str, float]:
        return {"default": run(), "junitxml": run("--junitxml=junit.xml")}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


def scale(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """CPU of the tree, and peak memory of the process the user has started, by plain's, for 50,000
    tests."""
    stage = Stage(MANY, contenders, directory / "scale", size)
    for name in contenders:
        (stage.suite(name) / "bench_scales.py").write_text(SCALES)

    def run(name: str) -> tuple[float, float]:
        cpu = stage.run(name, "-p", "bench_scales").cpu
        return cpu, float((stage.suite(name) / "peak.txt").read_text())

    def one_round() -> dict[str, float]:
        figures = {name: run(name) for name in contenders}
        cpu, peak = figures.pop("plain")
        ratios = {f"{name}, CPU": own / cpu for name, (own, _) in figures.items()}
        return ratios | {f"{name}, peak memory": own / peak for name, (_, own) in figures.items()}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


def worker_latency(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Seconds from fork to ready, and from a worker's death to its successor's first test."""
    if BRAID.name not in contenders:
        raise BenchError("only braid writes the log that this is read from")
    stage = Stage(CRASHING, {BRAID.name: contenders[BRAID.name]}, directory, size)
    log = directory / "events.jsonl"

    def one_round() -> dict[str, float]:
        log.unlink(missing_ok=True)
        arguments = [*BRAID.options(stage.workers), f"--braid-log={log}"]
        stage.pytest(BRAID.name, arguments, outcome=f"{stage.tests - 1} passed", exit_code=1)
        events = parse_log(log.read_text())
        return {
            "fork_to_ready": spread(fork_to_ready(events)).median,
            "death_to_next_test": death_to_next_test(events),
        }

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


THREADS = (1, 8)
"""Of the runs in threads of short tests."""
MANY_THREADS, LEAST_OVERLAP = 50, 40
"""Threads for tests that wait, and how many of them must be seen to run at once."""


def threads(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """CPU of the tree for 5,000 trivial tests in threads, by plain's."""
    pair = _plain_and_braid(contenders)
    stage = Stage(SCENARIOS["trivial"], pair, directory / "threads", size, workers=1)

    def run(count: int) -> float:
        return stage.run(BRAID.name, f"--threads={count}").cpu

    def one_round() -> dict[str, float]:
        plain = stage.run("plain").cpu
        return {f"--threads {count}": run(count) / plain for count in THREADS}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


def waiting(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Seconds of wall above plain's collection of 200 tests that wait, 50 at once.

    :raises BenchError: if fewer overlapped, or a session fixture was not set up once.
    """
    pair = _plain_and_braid(contenders)
    stage = Stage(WAITING, pair, directory / "waits", size, workers=1)
    log = directory / "waits.jsonl"
    setups = stage.suite(BRAID.name) / "setups.txt"

    def one_round() -> dict[str, float]:
        for file in (log, setups):
            file.unlink(missing_ok=True)
        wall = stage.run(BRAID.name, f"--threads={MANY_THREADS}", f"--braid-log={log}").wall
        overlap = largest_overlap(parse_log(log.read_text()))
        times = len(setups.read_text().splitlines())
        if overlap < min(LEAST_OVERLAP, stage.tests) or times != 1:
            raise BenchError(f"{overlap} tests overlapped; session fixture set up {times} times")
        return {f"--threads {MANY_THREADS}": wall - stage.collect().wall}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


SHARE = ("-o", "braid_share=server value")
MOST_LEFT = 10_000_000
"""Bytes of shared memory that others may take meanwhile."""


def shared(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Seconds of wall for 60 tests that share a fixture of 3 s, in 8 workers; and from the moment
    when a value of 100 MB is made to when 4 workers have it.

    :raises BenchError: if it was not set up and torn down once, or memory was not given back.
    """
    braid = {BRAID.name: _braid(contenders)}
    slow = Stage(ONCE, braid, directory / "shared", size)
    great = Stage(LARGE, braid, directory / "shared", size)
    setups = slow.suite(BRAID.name) / "setups.txt"

    def one_setup() -> float:
        setups.unlink(missing_ok=True)
        wall = slow.run(BRAID.name, *SHARE).wall
        noted = setups.read_text().split("\n")[:-1]
        if noted != ["set up", "torn down"]:
            raise BenchError(f"the shared fixture has noted {noted}")
        return wall

    def one_value() -> float:
        suite = great.suite(BRAID.name)
        for file in suite.glob("*.at"):
            file.unlink()
        before = _shared_memory()
        great.run(BRAID.name, *SHARE)
        left = _shared_memory() - before
        if left > MOST_LEFT:
            raise BenchError(f"{left} bytes of shared memory were not given back")
        had = [float(file.read_text()) for file in suite.glob("had-*.at")]
        return max(had) - float((suite / "made.at").read_text())

    def one_round() -> dict[str, float]:
        return {"3 s, 60 tests, -n 8": one_setup(), "100 MB, -n 4": one_value()}

    one_round()  # warms up
    return _by_contender([one_round() for _ in range(rounds)])


def _shared_memory() -> int:
    """Bytes that files in memory take, of all processes."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Shmem:"))


def _braid(contenders: Mapping[str, Installed]) -> Installed:
    if BRAID.name not in contenders:
        raise BenchError("only braid sets a session fixture up once")
    return contenders[BRAID.name]


def _plain_and_braid(contenders: Mapping[str, Installed]) -> dict[str, Installed]:
    if BRAID.name not in contenders:
        raise BenchError("only braid runs tests in threads")
    return {name: contenders[name] for name in ("plain", BRAID.name)}


def _peak(stage: Stage, name: str, workers: int) -> int:
    stage.workers = workers
    peak = stage.run(name, memory=True).peak_pss
    if not peak:
        raise BenchError("no memory was sampled: /proc/*/smaps_rollup cannot be read here")
    return peak


def _by_contender(measured: Sequence[dict[str, float]]) -> dict[str, Spread]:
    return {name: spread(one_round[name] for one_round in measured) for name in measured[0]}
