"""Which tests really ran beside others, and why the rest did not."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence

from pytest_braid.model import events as e

_MOST = 6
"""Reasons that the summary names."""


class _Running:
    """The tests that one worker runs, and for each the most that have run since it began."""

    def __init__(self) -> None:
        self.tests: dict[int, int] = {}
        """With the number of its beginning."""
        self._begun = 0
        self._levels: list[tuple[int, int]] = []
        """How many ran from which beginning on: each more than at any later one."""

    def begin(self, test: int) -> int:
        """How many run now."""
        self.tests[test] = self._begun
        level = len(self.tests)
        while self._levels and self._levels[-1][1] <= level:
            self._levels.pop()
        self._levels.append((self._begun, level))
        self._begun += 1
        return level

    def end(self, test: int) -> int:
        """How many have run at most, this one included, since it began."""
        began = self.tests.pop(test, None)
        if began is None:
            return 1
        return self._levels[bisect_left(self._levels, (began, 0))][1]


class Strands:
    """Reads the events of a run whose workers run several tests at once. ``asides`` are the reasons
    of tests that step aside, by their numbers; strands 1 to ``threads`` are threads, and those
    beyond are tasks."""

    def __init__(self, asides: Sequence[str | None], threads: int = 0, tasks: int = 0) -> None:
        self._asides = asides
        self._threads = threads
        self._tasks = tasks
        self._strand: dict[int, int] = {}
        self._running: defaultdict[int, _Running] = defaultdict(_Running)
        self._beside: dict[int, int] = {}
        self.largest = 0
        """Most tests that ran at the same time in one worker."""
        self.blocked: list[e.LoopBlocked] = []
        """Tests that have kept others waiting, one entry for each time."""

    def event(self, event: e.Event) -> None:
        """Take in what has happened."""
        match event:
            case e.Started():
                self._strand[event.test] = event.strand
                self.largest = max(self.largest, self._running[event.worker].begin(event.test))
            case e.Finished():
                self._end(event.worker, event.test)
            case e.WorkerDied():
                for test in [*self._running[event.worker].tests]:
                    self._end(event.worker, test)
            case e.LoopBlocked():
                self.blocked.append(event)
            case _:
                pass

    def _end(self, worker: int, test: int) -> None:
        self._beside[test] = self._running[worker].end(test) - 1

    def command(self, command: object, at: float) -> None:
        """What is decided is no matter of it, but what happens."""

    @property
    def on_strands(self) -> int:
        """How many tests ran in a thread or as a task of their own."""
        return sum(strand > 0 for strand in self._strand.values())

    @property
    def as_tasks(self) -> int:
        """How many of these ran as tasks."""
        return sum(map(self._is_task, self._strand.values()))

    def _is_task(self, strand: int) -> bool:
        return bool(self._tasks) and strand > self._threads

    @property
    def ran(self) -> int:
        """How many tests have begun."""
        return len(self._strand)

    def reasons(self) -> Counter[str]:
        """Why tests ran in the main thread, without the places."""
        aside = (test for test, strand in self._strand.items() if not strand)
        return Counter(_kind(self._reason(test) or "") for test in aside)

    def blocks(self, nodeids: Sequence[str]) -> list[str]:
        """Which tests have kept the others of their event loop waiting, and where."""
        longest = sorted(self.blocked, key=lambda block: -block.seconds)
        lines = []
        for block in longest[:_MOST]:
            nodeid = nodeids[block.test % len(nodeids)]
            lines.append(
                f"{nodeid} has blocked the event loop of its worker for {block.seconds:.1f} s, and "
                "all other tasks waited. Await what takes so long (asyncio.to_thread), or mark the "
                "test with @pytest.mark.thread_unsafe. It was here:"
            )
            lines += [f"  {line}" for line in block.stack]
        if len(longest) > _MOST:
            lines.append(f"... and {len(longest) - _MOST} more times")
        return lines

    def lines(self, test: int) -> list[str]:
        """How a test ran."""
        strand = self._strand.get(test)
        if strand is None:
            return []
        if strand:
            is_task = self._is_task(strand)
            how = f"as task {strand - self._threads}" if is_task else f"in thread {strand}"
            return [f"ran {how}, beside {self._beside.get(test, 0)} others at most"]
        reason = self._reason(test)
        return [f"ran alone in its worker: {reason}" if reason else "ran in the main thread"]

    def _reason(self, test: int) -> str | None:
        return self._asides[test % len(self._asides)] if self._asides else None

    def summary(self) -> list[str]:
        """In one line, or two."""
        ways = {"threads": (self._threads, "in threads", self.on_strands - self.as_tasks)}
        ways["tasks"] = (self._tasks, "as tasks", self.as_tasks)
        used = {name: way for name, way in ways.items() if way[0]} or ways
        told = [f"{count} of {self.ran} tests ran {how}" for _, how, count in used.values()]
        most = f"{self.largest} at once at most in a worker"
        lines = [f"{' and '.join(used)}: {', '.join(told)}, {most}"]
        reasons = self.reasons()
        if reasons:
            told = [f"{reason} ({count})" for reason, count in reasons.most_common(_MOST) if reason]
            more = f" and {len(reasons) - _MOST} more reasons" if len(reasons) > _MOST else ""
            named = f"{reasons.total()} stepped aside: {', '.join(told)}{more}"
            lines.append(f"{named}; --braid-explain says which")
        return lines


def _kind(reason: str) -> str:
    """A reason without its place."""
    return reason.partition(" (")[0].partition(" in ")[0]
