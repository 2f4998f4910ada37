"""What a run says that could not fork, whose workers do not agree, or that ends badly."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pytest_braid.control.fleet import describe_end
from pytest_braid.wire import messages as m

COLLECTIONS_DIFFER = 10
"""The exit code of a run whose workers have collected different tests."""

_MOST_LINES = 40
"""Lines of a difference that are shown."""


def refusal(reasons: Sequence[str]) -> str:
    """Why ``--start-method fork`` cannot be."""
    return (
        f"braid cannot fork workers from this test session:\n{_listed(reasons)}\n"
        "Without --start-method fork the workers would be spawned, and collect for themselves."
    )


def spawned_instead(reasons: Sequence[str]) -> str:
    """Why workers are spawned although nobody has asked for it."""
    return (
        "braid: workers are spawned and collect for themselves, which takes longer; they cannot "
        f"be forked from this test session:\n{_listed(reasons)}"
    )


def unspawnable(plugin: str, names: Sequence[str], reasons: Sequence[str]) -> str:
    """Why workers that are spawned would lack a plugin, of which they need ``names``."""
    fork = (
        f"remove what keeps workers from being forked:\n{_listed(reasons)}"
        if reasons
        else "let workers be forked (--start-method fork)."
    )
    return (
        f"braid cannot spawn workers: pytest.main(plugins=[...]) was given {plugin}, an object "
        f"that no other interpreter has, and tests need its {', '.join(names)}. Give the name of a "
        f"module that is a plugin, run without workers (-n 0), or {fork}"
    )


def _listed(reasons: Sequence[str]) -> str:
    return "\n".join(f"  - {reason}" for reason in reasons)


def different(tests: Sequence[m.Test], collected: Mapping[str, Sequence[str]]) -> list[str]:
    """In which tests the workers' collections differ from that of the run, as lines."""
    ours = [test.nodeid for test in tests]
    lines: list[str] = []
    for name, theirs in collected.items():
        found = list(difflib.unified_diff(ours, theirs, "the run", name, lineterm="", n=0))
        lines += found[:_MOST_LINES]
        if len(found) > _MOST_LINES:
            lines.append(f"... and {len(found) - _MOST_LINES} lines more")
    if lines:
        lines.append(
            "Spawned workers collect each for itself, and must find the same tests. Look for "
            "parameters that are random, that hold a time, an address or a process id, and for "
            "tests that are made from what another process changes (files, a database, a port). "
            "Nothing was run by these workers."
        )
    return lines


def failed_at_its_end(status: int, printed: str) -> str:
    """``status`` as ``os.waitstatus_to_exitcode`` gives it."""
    return (
        "braid: the process that collected the tests, and forked the workers, failed in "
        f"pytest_unconfigure or at exit: {describe_end(status)}.\n{printed}"
    )


# In the words of pytest-xdist, for which people search what their runs have printed:


def crash_text(why: str) -> str:
    """How a worker's process ended that crashed."""
    return f"Not properly terminated: {why}"


def replacing_text(worker: str, *, is_needed: bool) -> str:
    """What becomes of a crashed worker."""
    rest = "" if is_needed else " is not needed: nothing is left for it to run"
    return f"replacing crashed worker {worker}{rest}"


def gave_up_text(restarts: int, worker: str) -> str:
    """After so many crashed workers, of which ``worker`` is the latest."""
    if restarts == 0:
        return f"worker {worker} crashed and worker restarting disabled"
    return f"maximum crashed workers reached: {restarts}"


def gave_up_at_last(text: str) -> str:
    """The same at the end of the run."""
    return f"xdist: {text} (--max-worker-restart)"


# Fixtures shared by the run:


def host_crashed(how: str, doing: str | None, said: str) -> str:
    """What happened to the process in which shared fixtures are set up."""
    when = "" if doing is None else f" {doing}"
    text = f"the fixture host, the process that sets up shared fixtures, has crashed{when}: {how}"
    return f"{text}\n{said}" if said else text


def host_overran(where: str, doing: str | None) -> str:
    """The fixture host was ended because a setup or teardown took too long."""
    when = "" if doing is None else f" {doing}"
    return (
        f"Timeout {where}: the fixture host, the process that sets up shared fixtures, was ended"
        f"{when}, and nothing that stood there is torn down. If it needs longer, raise the limit."
    )


def not_set_up(label: str, why: str) -> str:
    """Why there is no value of a shared fixture."""
    return (
        f"shared fixture {label!r} is not there: {why}\nIt is set up once for the whole run, so "
        "every test that uses it fails; run one of them with -n 0 to see more."
    )


def torn_down_already(label: str) -> str:
    """Of a shared fixture that is asked for behind its teardown."""
    return (
        f"shared fixture {label!r} is torn down already, because the run ends: it is set up once "
        "for the whole run"
    )


def host_differs() -> str:
    """A spawned host has not found the tests of the run."""
    return (
        "the fixture host, the process that sets up shared fixtures, has collected other tests "
        "than the workers. Look for parameters that are random, that hold a time, an address or a "
        "process id (--start-method fork collects once)"
    )


def not_adaptive(workers: int) -> str:
    """That ``-n adaptive`` is no more than ``-n auto`` where workers are spawned."""
    noun = "worker" if workers == 1 else "workers"
    return (
        f"braid: -n adaptive: {workers} {noun}, as with -n auto, and no more: each of them is an "
        "interpreter that collects the tests for itself. Only forked workers are cheap enough to "
        "be added while tests run"
    )
