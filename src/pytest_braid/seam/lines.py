"""Lines of tests that run at once, where what they print is shown at once: each stays whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any

from pytest_braid.seam.routing import AT_END, Forwarder, Values


class Lines(Forwarder):
    """A stream into which running tests print. ``print`` writes a line piece by piece; here it is
    written in one piece as soon as it is whole. ``make_room`` is called first, as the terminal may
    have something of its own in the line to which that would be added.

    What has no end yet is written when the test flushes the stream or is over. If another prints
    behind that, it begins a new line. Each thread of a test has lines of its own: so nothing here
    must be locked, which would be dangerous where a test forks. What runs for no test prints as
    ever.
    """

    __slots__ = ("_begun", "_make_room", "_stream", "_values")

    def __init__(
        self, stream: Any, values: Values, make_room: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(lambda: stream)
        self._make_room = make_room
        self._stream = stream
        self._values = values
        self._begun: dict[None, object] = {}
        """Whose line stands in the stream without its end, if there is one."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """For whoever asks of what kind ``sys.stdout`` is."""
        return type(self._stream)

    def write(self, text: str) -> int:
        own = self._values()
        if own is None or not isinstance(text, str):
            written: int = self._stream.write(text)
            return written
        held = self._held(own)
        whole, end, rest = text.rpartition("\n")
        if end:
            begin = "".join(held)
            held.clear()
            self._show(held, begin + whole + end)
        if rest:
            held.append(rest)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        own = self._values()
        if own is not None:
            self._show_rest(self._held(own))
        self._stream.flush()

    def _held(self, own: dict[str, Any]) -> list[str]:
        """The pieces of a line that has no end yet: of this thread of a test."""
        key = f"line of {id(self)} in {threading.get_ident()}"
        if key not in own:
            held = own[key] = []
            own.setdefault(AT_END, []).append(lambda: self._end(held))
        found: list[str] = own[key]
        return found

    def _show(self, held: list[str], text: str) -> None:
        """Of a thread's line, which it continues; or behind that of another."""
        before = self._begun.pop(None, None)
        if before is None:
            self._make_room()
        self._stream.write(text if before is None or before is held else "\n" + text)

    def _show_rest(self, held: list[str]) -> None:
        if held:
            text = "".join(held)
            held.clear()
            self._show(held, text)
            self._begun[None] = held

    def _end(self, held: list[str]) -> None:
        with contextlib.suppress(Exception):  # a test has closed it
            self._show_rest(held)
