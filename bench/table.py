"""What is printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.figures import Figures, Spread, others_load
from bench.stage import Stage

NOISE = 0.03
"""How far the control's median CPU may be from plain's in a run that is quoted."""
LOAD = 0.1
"""How many cores may be busy with other things in a run that is quoted."""

_HEADINGS = ("wall s", "CPU s", "wall / plain", "CPU / plain", "wall / bound", "PSS MB")
_WIDTHS = (19, 19, 19, 19, 19, 6)


def scenario_table(stage: Stage, figures: Mapping[str, Figures], bound: Spread) -> str:
    """A suite's figures: a row for each contender, ``median [quartiles]`` in each column."""
    title = (
        f"{stage.scenario.name} ({stage.scenario.about}): {stage.tests:,} tests,"
        f" -n {stage.workers}, {len(stage.rounds)} rounds, longest test {stage.longest_test:.3f} s,"
        f" lower bound {bound.median:.2f} s"
    )
    heading = _line("", _HEADINGS)
    rows = [_row(stage, name, figures[name]) for name in stage.contenders]
    return "\n".join([title, heading, *rows, *_warnings(stage, figures)])


def special_table(title: str, unit: str, factor: float, spreads: Mapping[str, Spread]) -> str:
    """A single question's answer: a row for each contender, values times ``factor``."""
    rows = [
        f"{name:<24}{_cell(Spread(*(value * factor for value in spread)), 1)} {unit}"
        for name, spread in spreads.items()
    ]
    return "\n".join([title, *rows])


def _row(stage: Stage, name: str, figures: Figures) -> str:
    first = name == "plain"
    cells = [
        _cell(figures.wall, 2),
        _cell(figures.cpu, 2),
        "" if first else _cell(figures.wall_to_plain, 2),
        "" if first else _cell(figures.cpu_to_plain, 2),
        _cell(figures.wall_to_bound, 2),
        _megabytes(stage, name),
    ]
    return _line(name, cells)


def _line(name: str, cells: Iterable[str]) -> str:
    padded = (f" {cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{name:<7}{''.join(padded)}".rstrip()


def _cell(value: Spread, digits: int) -> str:
    median, low, high = (f"{number:.{digits}f}" for number in value)
    return f"{median} [{low} {high}]"


def _megabytes(stage: Stage, name: str) -> str:
    peaks = [usage.peak_pss for one in stage.memory_rounds if (usage := one.get(name))]
    return f"{max(peak or 0 for peak in peaks) / 1e6:.0f}" if peaks else ""


def _warnings(stage: Stage, figures: Mapping[str, Figures]) -> Iterator[str]:
    control = figures.get("control")
    if control and abs(control.cpu_to_plain.median - 1) > NOISE:
        yield f"NOISY: plain against itself differs by more than {NOISE:.0%} in CPU"
    if (load := others_load(stage.rounds)) > LOAD:
        yield f"BUSY: other processes kept {load:.2f} cores of this machine from the runs"
