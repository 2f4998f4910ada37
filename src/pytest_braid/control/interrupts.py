"""Ctrl-C and SIGTERM in the controller: noted in the handler, acted on by the loop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pytest_braid.wire import messages as m

CTRL_C = m.Interrupted("keyboard", "", None, None, "")
"""Ctrl-C, before a worker has said which test it met."""

_SIGTERM = m.Interrupted("exit", "received SIGTERM", None, None, "")


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C raise behind this, not in the middle of it."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    noted: list[int] = []
    signal.signal(signal.SIGINT, lambda signum, _: noted.append(signum))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        for signum in noted:
            signal.raise_signal(signum)


class Interrupts:
    """Once: the running tests are interrupted and torn down. Twice: ``KeyboardInterrupt``, now.

    A handler may run in the middle of a message to a process, so it only notes; the descriptor
    becomes readable, and the loop does the rest.
    """

    def __init__(self) -> None:
        self.said: m.Interrupted | None = None
        """Why the run ended early, if a test or the user ended it."""
        self.is_sigterm = False

    def watch(self, stack: ExitStack) -> None:
        """Begin; ``stack`` ends it."""
        self._noted, waker = socket.socketpair()
        stack.callback(self._noted.close)
        stack.callback(waker.close)
        waker.setblocking(False)
        if threading.current_thread() is not threading.main_thread():
            return  # Python handles signals in that one only
        stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(waker.fileno()))
        for signum, usual, handler in (
            (signal.SIGINT, signal.default_int_handler, self._on_sigint),
            (signal.SIGTERM, signal.SIG_DFL, self._on_sigterm),
        ):
            if signal.getsignal(signum) is usual:  # otherwise it is somebody else's business
                stack.callback(signal.signal, signum, usual)
                signal.signal(signum, handler)

    def fileno(self) -> int:
        return self._noted.fileno()

    def clear(self) -> None:
        """Let the descriptor be readable no more."""
        self._noted.recv(64)

    def _on_sigint(self, *_: object) -> None:
        if self.said is not None:
            raise KeyboardInterrupt
        self.said = CTRL_C

    def _on_sigterm(self, *_: object) -> None:
        if self.said is not None:
            raise KeyboardInterrupt
        self.said = _SIGTERM
        self.is_sigterm = True
