"""What the end of the terminal's output says of a run that did not go as usual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from pytest_braid.control.ledger import Ledger
from pytest_braid.control.texts import different
from pytest_braid.wire import messages as m


class Summary:
    """``has_copies``: every worker runs a copy of the collection (``--dist each``)."""

    def __init__(
        self,
        tests: Sequence[m.Test],
        ledger: Ledger,
        collected: dict[str, list[str]],
        *,
        has_copies: bool,
    ) -> None:
        self._tests = tests
        self._ledger = ledger
        self._collected = collected
        self._has_copies = has_copies

    def write(self, reporter: pytest.TerminalReporter, unfinished: Sequence[int]) -> None:
        for title, lines in (
            ("Interrupted while running", self.cut()),
            ("braid: workers that died without a test", self._ledger.deaths),
            ("braid: workers that died of tests that ran at once", self.together()),
            ("braid: tests without exactly one outcome", self.unaccounted(unfinished)),
            ("braid: shared fixtures that were not cleaned up", self.lost()),
            ("braid: different tests were collected", different(self._tests, self._collected)),
        ):
            if lines:
                reporter.section(title, sep="=", red=True)
                reporter.write("\n".join(lines) + "\n")

    def cut(self) -> list[str]:
        return [
            f"{cut.worker}: {self._nodeid(cut.test)} (after {cut.age:.2f} s)"
            for cut in self._ledger.cut
        ]

    def together(self) -> list[str]:
        """Crashes that no test makes by itself: each of them has run once more, alone."""
        crashed = self._ledger.crashed
        return [
            f"{each.worker}: {each.why}, while these ran at once. Each has ended by itself in a "
            "process of its own, so it takes several of them. Mark those with "
            "@pytest.mark.thread_unsafe that cannot run beside others:\n"
            + "\n".join(f"  {self._nodeid(test)}" for test in each.tests)
            for each in self._ledger.suspicions
            if crashed.isdisjoint(each.tests)
        ]

    def lost(self) -> list[str]:
        """Fixtures whose last user was not told that it was the last, or died of it."""
        return [
            f"{loss.fixture} ({loss.value}): {loss.why}. What its setup has made may be left: look "
            "for it, and end it by hand"
            for loss in self._ledger.losses
        ]

    def unaccounted(self, unfinished: Sequence[int]) -> list[str]:
        return [*self._unaccounted(unfinished)]

    def _unaccounted(self, unfinished: Sequence[int]) -> Iterator[str]:
        cut = {cut.test for cut in self._ledger.cut}
        for test in unfinished:
            if test not in cut:
                yield f"not run: {self._named(test)}"
        for test in self._ledger.twice:
            yield f"ended twice: {self._named(test)}"

    def _named(self, test: int) -> str:
        """Its node id and, in mode ``each``, the worker that began to run its copy."""
        of = f" (copy of gw{test // len(self._tests)})" if self._has_copies else ""
        return self._nodeid(test) + of

    def _nodeid(self, test: int) -> str:
        return self._tests[test % len(self._tests)].nodeid
