"""What is kept for those who come first in line."""

from __future__ import annotations

import msgspec

from pytest_braid.model.needs import ALONE, CPUS, Lack, Needs


class Bar(msgspec.Struct):
    """What those lack who come first: nobody behind them may take it."""

    names: dict[str, tuple[int, bool]] = msgspec.field(default_factory=dict)
    """Of resources: the first test that waits for it, and whether all who do so only read."""
    circle: tuple[int, str] | None = None
    cpus: int | None = None

    def lack(self, needs: Needs) -> Lack | None:
        """What others come first to."""
        if self.circle is not None and self.circle[1] != needs.circle:
            return Lack(ALONE, (self.circle[0],))
        for hold in needs.holds if self.names else ():
            first, is_shared = self.names.get(hold.name, (0, hold.is_shared))
            if not (is_shared and hold.is_shared) and hold.name in self.names:
                return Lack(str(hold), (first,))
        return None if self.cpus is None else Lack(CPUS, (self.cpus,))

    def add(self, test: int, needs: Needs, lack: Lack | None) -> None:
        """This test waits. Places to run are kept for it only if it lacks nothing else, or they
        would be empty for as long as others hold what it lacks."""
        if self.circle is None and needs.circle is not None:
            self.circle = test, needs.circle
        for hold in needs.holds:
            first, is_shared = self.names.get(hold.name, (test, True))
            self.names[hold.name] = first, is_shared and hold.is_shared
        if self.cpus is None and needs.cpus > 1 and (lack is None or lack.what == CPUS):
            self.cpus = test
