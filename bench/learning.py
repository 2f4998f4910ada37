"""What a run gains from earlier ones, from keeping tests together, and from workers, and strands,
that fit the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import BRAID, CORES, Contender, Installed, install
from bench.figures import Spread, lower_bound, spread
from bench.measure import BenchError
from bench.stage import Stage, longest_test
from bench.suites import LATE, MIXED, PARAMETERS, SLEEPING
from bench.tasks import ASYNCIO

ASYNCIO_XDIST = Contender("asyncio-xdist", ("pytest-asyncio", "pytest-xdist"), parallel=True)

_LANES = 2
"""Workers of the runs that are compared with a bound."""


def history(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Wall of a suite whose longest test is the last, by what two lanes need for its tests."""
    stage = Stage(LATE, _braid_and(contenders), directory / "history", size, workers=_LANES)

    def one_round() -> dict[str, float]:
        first = stage.run(BRAID.name, "--cache-clear").wall
        second = stage.run(BRAID.name).wall
        before = stage.collect().wall
        bound = before + max(_SECONDS_LONG * size, (_SECONDS_LONG * size + _rest(stage)) / _LANES)
        return {"first run": first / bound, "second run": second / bound}

    one_round()  # warms up
    return _by_name([one_round() for _ in range(rounds)])


_SECONDS_LONG, _SECONDS_SHORT = 6.0, 0.1
"""Of the tests of the suite ``late``."""


def _rest(stage: Stage) -> float:
    return (stage.tests - 1) * _SECONDS_SHORT


def fixtures(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Wall of a suite of one module fixture with ten parameters, by plain's."""
    stage = Stage(PARAMETERS, _braid_and(contenders), directory / "fixtures", size, workers=2)

    def one_round() -> dict[str, float]:
        plain = stage.run("plain").wall
        first = stage.run(BRAID.name, "--cache-clear").wall
        second = stage.run(BRAID.name).wall
        return {"first run": first / plain, "second run": second / plain}

    one_round()  # warms up
    return _by_name([one_round() for _ in range(rounds)])


def adaptive(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """How many times as fast 200 sleeping tests are with ``-n adaptive`` as with ``-n auto``."""
    stage = Stage(SLEEPING, _braid_and(contenders), directory / "adaptive", size, workers="auto")
    others = [name for name in contenders if name not in {"plain", "control"}]

    def one_round() -> dict[str, float]:
        stage.workers = "auto"
        walls = {name: stage.run(name).wall for name in others if name in stage.contenders}
        stage.workers = "adaptive"
        own = stage.run(BRAID.name).wall
        return {f"{name} -n auto": wall / own for name, wall in walls.items()}

    one_round()  # warms up
    return _by_name([one_round() for _ in range(rounds)])


def mixed(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Wall of a suite of tests that compute, block or await, by the lower bound: of its longest
    test, and of what the serial run (with pytest-asyncio) computes."""
    others = {name: one for name, one in _braid_and(contenders).items() if name == "plain"}
    peers = [ASYNCIO, ASYNCIO_XDIST]
    installed = {**others, BRAID.name: contenders[BRAID.name], **install(peers)}
    stage = Stage(MIXED, installed, directory / "mixed", size)
    junit = directory / "mixed.xml"

    def one_round() -> dict[str, float]:
        serial = stage.run(ASYNCIO.name, f"--junitxml={junit}")
        collect = stage.collect()
        longest = longest_test(junit.read_text())
        bound = lower_bound(
            longest_test=longest, plain_cpu=serial.cpu, collect=collect, cores=CORES
        )
        stage.workers = "auto"
        other = stage.run(ASYNCIO_XDIST.name).wall
        stage.workers = "adaptive"
        own = stage.run(BRAID.name, "--tasks=100").wall
        return {"-n adaptive --tasks": own / bound, "pytest-asyncio, -n auto": other / bound}

    one_round()  # warms up
    return _by_name([one_round() for _ in range(rounds)])


def _braid_and(contenders: Mapping[str, Installed]) -> Mapping[str, Installed]:
    if BRAID.name not in contenders:
        raise BenchError("only braid learns from its runs and adds workers to them")
    return contenders


def _by_name(measured: Sequence[dict[str, float]]) -> dict[str, Spread]:
    return {name: spread(one_round[name] for one_round in measured) for name in measured[0]}
