"""Three lines at the end of a run: what it gained, why lanes were idle, and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_braid.report.account import Account, Idle
from pytest_braid.report.advice import Advice

SHORTEST = 1.0
"""Seconds of a run that is worth three lines."""

_SMALL = 0.02
"""Share of the lanes' time below which a reason is not named."""

_NEAR = 1.12
"""Up to so many times as long as the lower bound, nothing is to be gained by another order."""

_HELPS = 0.9
"""A change is worth a word if the run takes at most so much of its time with it."""

_MOSTLY = 0.5
"""Share of waiting from which tests mostly wait."""


class Machine(NamedTuple):
    """``cores`` are those that the run may keep busy, ``load`` how many processes want one (of the
    last minute, whoever has started them); ``knows_order``: it was known how long tests
    take; ``is_spawned``: workers were not forked; ``mode`` is that of ``--dist``;
    ``learns``: the next run will know how long tests take."""

    cores: int
    load: float
    knows_order: bool
    is_spawned: bool
    mode: str
    learns: bool = True


class Chain(NamedTuple):
    """What cannot be done at once: a test, or ``tests`` that share a unit or a resource."""

    seconds: float
    name: str
    tests: int

    def __str__(self) -> str:
        return f"{self.name} ({self.tests} tests)" if self.tests > 1 else self.name


class Change(NamedTuple):
    """What could be done, and how many seconds the run would take then, about."""

    seconds: float
    what: str


def verdict(account: Account, machine: Machine, advice: Advice | None = None) -> list[str]:
    """The lines; none for a run that is too short for them. ``advice`` is on tests that wait."""
    if account.wall < SHORTEST or not account.tests:
        return []
    return [_gain(account), _idleness(account), _limit(account, machine, advice)]


def bound(account: Account) -> float:
    """Seconds below which no order of these tests gets, on as many lanes."""
    lanes = min(account.lanes, account.tests)
    return max(_longest_chain(account).seconds, account.work / lanes)


# --- what it gained -------------------------------------------------------------------------------


def _gain(account: Account) -> str:
    by = f"{account.workers} worker{_s(account.workers)}"
    strands = {"thread": account.threads, "task": account.tasks}
    told = [f"{number} {name}{_s(number)}" for name, number in strands.items() if number]
    by += f" x {' and '.join(told)}" if told else ""
    speed = account.work / account.wall
    times = (
        f"up to {speed:.1f} times as fast as one after another"
        if speed >= _FASTER
        else "as one after another"
    )
    tests = f"{account.tests} test{_s(account.tests)}"
    return f"braid: {by}: {tests} of {_time(account.work)} in {_time(account.wall)}, {times}"


def _idleness(account: Account) -> str:
    reasons = [
        f"{account.share(why):.0%} {_reason(account, why)}"
        for why in sorted(Idle, key=account.share, reverse=True)
        if account.share(why) >= _SMALL
    ]
    idle = f"; idle {', '.join(reasons)}" if reasons else ""
    return f"braid: lanes were busy for {account.busy:.0%} of the time{idle}"


def _reason(account: Account, why: Idle) -> str:
    if why is Idle.WAIT and account.waits:
        return f"waiting for {max(account.waits, key=account.waits.__getitem__)}"
    if why is Idle.FEW:
        return f"for lack of tests ({account.tests} for {account.lanes})"
    return str(why)


# --- what limits it, and what would help ----------------------------------------------------------


def _limit(account: Account, machine: Machine, advice: Advice | None) -> str:
    least = bound(account)
    chain = _longest_chain(account)
    if chain.seconds >= least:
        limit = f"no order is faster than {chain}, {_time(chain.seconds)}"
    else:
        lanes = f"{account.lanes} lane{_s(account.lanes)}"
        limit = f"no order on {lanes} is faster than {_time(least)}"
    changes = [
        it for it in _changes(account, machine, advice) if it.seconds < _HELPS * account.wall
    ]
    if not changes:
        return f"braid: {limit}; {_nothing(account, machine)}"
    return f"braid: {limit}; {min(changes).what}"


def _nothing(account: Account, machine: Machine) -> str:
    if account.lanes < machine.cores:
        return "more workers would not help"
    return "only faster tests or more cores would help"


def _changes(account: Account, machine: Machine, advice: Advice | None) -> Iterator[Change]:
    """What could be changed, each by itself."""
    line = None if advice is None else advice.line()
    if advice is not None and line is not None and _surely_waits(account, machine):
        yield Change(advice.best, line)
    for seconds, what in _other_changes(account, machine):
        yield Change(seconds, f"{what}, about {_time(seconds)}")


def _surely_waits(account: Account, machine: Machine) -> bool:
    """Whether tests have waited for more than a core: on a crowded machine who only computes has
    a part of one."""
    fair = min(1.0, machine.cores / max(machine.load, 1.0))
    return account.waiting is not None and 1 - account.waiting <= (1 - _MOSTLY) * fair


def _other_changes(account: Account, machine: Machine) -> Iterator[Change]:
    chain = _longest_chain(account).seconds
    if account.lanes < machine.cores and account.tests > account.lanes:
        lanes = min(machine.cores, account.tests)
        yield Change(max(chain, account.work / lanes), f"-n {machine.cores} uses all cores")
    yield from _another_order(account, machine)
    yield from _shorter_chain(account)
    if machine.is_spawned:
        start = account.idle[Idle.START] / account.lanes
        yield Change(account.wall - start, "let workers be forked (see the header)")


def _another_order(account: Account, machine: Machine) -> Iterator[Change]:
    """The end, when lanes have nothing left, is what an order can shorten."""
    if account.wall > _NEAR * bound(account) and account.share(Idle.END) >= 2 * _SMALL:
        shorter = account.wall - account.idle[Idle.END] / account.lanes
        least = max(bound(account), shorter)
        if machine.mode in ("loadscope", "loadfile", "loadgroup"):
            yield Change(least, f"--dist load instead of {machine.mode}")
        elif not machine.knows_order:
            knows = (
                "the next run knows" if machine.learns else "with --braid-history=on a run knows"
            )
            yield Change(least, f"{knows} how long tests take, and begins with the longest")


def _shorter_chain(account: Account) -> Iterator[Change]:
    """Without the longest of what cannot be divided, the next longest counts."""
    chain = _longest_chain(account)
    work = account.work / account.lanes
    if chain.seconds < account.wall / _NEAR or account.tests <= 1:
        return
    half = max(work, account.longest[0] if chain.tests > 1 else 0.0, chain.seconds / 2)
    if chain.name.startswith("resource "):
        yield Change(half, f"two of {chain.name} instead of one (braid_resources)")
    else:
        yield Change(half, "divide it" if chain.tests > 1 else "make it faster, or two of it")


def _longest_chain(account: Account) -> Chain:
    seconds, test = account.longest
    nodeids = account.nodeids
    name = nodeids[test % len(nodeids)] if nodeids else "the longest test"
    found = [Chain(seconds, name, 1)]
    for name, total in account.chains.items():
        if account.in_chain[name] > 1:
            found.append(Chain(total, name, account.in_chain[name]))
    return max(found)


def _time(seconds: float) -> str:
    if seconds < _TEN:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, _MINUTE)
    return f"{minutes} min {rest} s" if minutes else f"{whole} s"


_TEN, _MINUTE = 10, 60
_FASTER = 1.05


def _s(number: int) -> str:
    return "" if number == 1 else "s"
