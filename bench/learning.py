"""What a run gains from earlier ones, from keeping tests together, and from more workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import BRAID, Installed
from bench.figures import Spread, spread
from bench.measure import BenchError
from bench.stage import Stage
from bench.suites import LATE, PARAMETERS, SLEEPING

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


def _braid_and(contenders: Mapping[str, Installed]) -> Mapping[str, Installed]:
    if BRAID.name not in contenders:
        raise BenchError("only braid learns from its runs and adds workers to them")
    return contenders


def _by_name(measured: Sequence[dict[str, float]]) -> dict[str, Spread]:
    return {name: spread(one_round[name] for one_round in measured) for name in measured[0]}
