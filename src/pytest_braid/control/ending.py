"""The end of the process that has collected, and of what it has made."""

from __future__ import annotations

import signal
from collections.abc import Callable

from pytest_braid.control.fleet import Zygote
from pytest_braid.wire import messages as m

Hear = Callable[[int, "m.FromZygote | m.FromWorker"], None]


class Ending:
    """Told to end, heard out, reaped: each once. What it says last goes to ``hear``, with the slot
    whose it is."""

    def __init__(self, zygote: Zygote, hear: Hear) -> None:
        self._zygote = zygote
        self._hear = hear
        self._is_heard_out = False
        self._reaped: tuple[int, str] | None = None
        self.is_begun = False
        self.is_over = False
        self.is_killed = False

    def begin(self, *, is_collecting: bool, hear_out: bool) -> None:
        """Its session ends in order: it may be collecting, it waits for orders, or it ends of what
        it has said."""
        self.is_begun = True
        if is_collecting:
            self._zygote.break_off()
        self._zygote.shut_down()
        if hear_out:
            self.hear_out()
        self.is_over = True  # or, if Ctrl-C came meanwhile, it is killed

    def hear_out(self) -> None:
        """Until its last message: a process that a test module has forked may hold its end of the
        socket open for as long as it likes."""
        if self._is_heard_out:
            return
        for slot, said in self._zygote.last_messages():
            self._hear(slot, said)
            if isinstance(said, m.ZygoteEnded):
                self._is_heard_out = True
                return

    def reap(self) -> tuple[int, str]:
        """Its status, as ``os.waitstatus_to_exitcode`` gives it, and what it has printed."""
        if self._reaped is None:
            try:
                self.hear_out()
                status = self._zygote.wait()
            except KeyboardInterrupt:
                self.kill()
                raise
            self._reaped = status, self._zygote.printed()
            self._zygote.close()
        return self._reaped

    def kill(self) -> None:
        self.is_killed = True
        self._zygote.signal(signal.SIGKILL)
