"""The command line: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bench.contenders import BRAID, CONTENDERS, PLAIN, Contender, install
from bench.measure import BenchError
from bench.session import SPECIALS, Session
from bench.suites import SCENARIOS


@dataclass(frozen=True, slots=True)
class Plan:
    """A subcommand: what it runs unless its options say otherwise."""

    help: str
    rounds: int = 9
    size: float = 1.0
    budget: float = math.inf
    """Seconds, environments and warm-up included, by which the last round should be over."""
    scenarios: tuple[str, ...] = ()
    specials: tuple[str, ...] = ()
    memory_rounds: int = 0


PLANS = {
    "quick": Plan(
        "every suite at a fifth of its size, at most two minutes",
        rounds=3,
        size=0.2,
        budget=110,
        scenarios=tuple(SCENARIOS),
        memory_rounds=1,
    ),
    "full": Plan(
        "every suite and every single question, at most fifteen minutes",
        budget=870,
        scenarios=tuple(SCENARIOS),
        specials=tuple(name for name in SPECIALS if name != "scale"),  # half an hour of its own
        memory_rounds=1,
    ),
    "run": Plan("the suites that are named"),
    **{
        name: Plan(f"{special.title}, in {special.unit}".replace("%", "%%"), rounds=special.rounds)
        for name, special in SPECIALS.items()
    },
}


_OF_BRAID = (
    "latency",
    "shared",
    "threads",
    "waiting",
    "history",
    "fixtures",
    "adaptive",
    "tasks",
    "task-cpu",
    "task-memory",
    "task-wakeups",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark that ``arguments`` ask for; return the exit code."""
    options = _parser().parse_args(arguments)
    if sys.platform != "linux":
        return _complain("it counts orphans and shared memory, and needs Linux for both")
    deadline = monotonic() + PLANS[options.command].budget
    try:
        contenders = install(options.contenders)
        with tempfile.TemporaryDirectory(prefix="braid-bench-") as directory:
            session = Session(contenders, Path(directory), deadline)
            _carry_out(options, session)
    except BenchError as error:
        return _complain(str(error))
    if options.json:
        options.json.write_text(json.dumps(session.results, indent=1) + "\n")
    return 0


def _carry_out(options: argparse.Namespace, session: Session) -> None:
    if options.command in SPECIALS:
        session.answer(options.command, rounds=options.rounds, size=options.size)
        return
    for name in PLANS[options.command].specials:
        # Of braid alone; without it the other questions still have answers.
        if name not in _OF_BRAID or BRAID in options.contenders:
            session.answer(name, rounds=SPECIALS[name].rounds, size=options.size)
    session.race(
        options.scenarios,
        rounds=options.rounds,
        memory_rounds=options.memory_rounds,
        size=options.size,
        workers=options.workers,
    )


def _complain(text: str) -> int:
    sys.stderr.write(f"bench: {text}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="braid's benchmark")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, plan in PLANS.items():
        command = commands.add_parser(name, help=plan.help, description=plan.help)
        _add_common_options(command, plan)
        if name not in SPECIALS:
            _add_race_options(command, plan)
    return parser


def _add_common_options(command: argparse.ArgumentParser, plan: Plan) -> None:
    command.add_argument("--rounds", type=_at_least_one, default=plan.rounds)
    command.add_argument("--size", type=float, default=plan.size, help="1 is the suite's full size")
    command.add_argument(
        "--contenders",
        type=_contenders,
        default=list(CONTENDERS.values()),
        metavar="NAME,...",
        help=f"of {','.join(CONTENDERS)}; plain always takes part",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def _add_race_options(command: argparse.ArgumentParser, plan: Plan) -> None:
    if plan.scenarios:
        command.set_defaults(scenarios=plan.scenarios)
    else:
        command.add_argument("scenarios", nargs="+", choices=tuple(SCENARIOS))
    command.add_argument(
        "-n", type=int, default=0, dest="workers", help="instead of the suite's own"
    )
    command.add_argument("--memory-rounds", type=int, default=plan.memory_rounds)


def _at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _contenders(text: str) -> list[Contender]:
    """The contenders named in ``text``, in the order of the table, and plain.

    :raises argparse.ArgumentTypeError: if a name is unknown.
    """
    names = {PLAIN.name, *text.split(",")}
    if unknown := names - set(CONTENDERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: no such contender")
    return [contender for name, contender in CONTENDERS.items() if name in names]


if __name__ == "__main__":
    sys.exit(main())
