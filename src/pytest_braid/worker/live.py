"""Where the output of one phase of a test ends, marked in the output itself."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence


class Marks:
    """Tells the controller how much was printed before a report, whatever has printed it.

    A mark is written whole (POSIX: a write of up to PIPE_BUF bytes is atomic), to each of the
    descriptors, if there are any. It is a random number, so nothing that is printed looks like it.
    """

    def __init__(self, descriptors: Sequence[int], mark: bytes) -> None:
        self._descriptors = descriptors
        self._mark = mark
        # Bound here, before a test can patch the modules.
        self._write = os.write

    def put(self) -> None:
        """Mark the end of what was printed until now, what Python has in its buffers included."""
        if not self._descriptors:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a test has put something of its own there
                stream.flush()
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):  # a test has closed it
                self._write(descriptor, self._mark)
