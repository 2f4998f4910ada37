"""How many threads numerical libraries start in each worker: its share of the cores.

Left alone, each of four workers on eight cores computes a matrix product with eight threads. The
libraries read these variables when they are loaded, so they are set before any conftest is.
"""

from __future__ import annotations

import os

OF_ALL = "OMP_NUM_THREADS"

VARIABLES = (
    OF_ALL,
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Caps:
    """Of this process and of those that it starts, until :meth:`lift`."""

    def __init__(self) -> None:
        is_users = OF_ALL in os.environ  # the others go by it
        self._ours = [] if is_users else [name for name in VARIABLES if name not in os.environ]

    def share(self, cores: int, workers: int) -> None:
        """Set what the user has not set. A worker that is alone may use all cores."""
        self._clear()
        if workers > 1:
            os.environ.update(dict.fromkeys(self._ours, str(max(1, cores // workers))))

    def lift(self) -> None:
        """The run is over, and whoever called pytest goes on."""
        self._clear()

    def _clear(self) -> None:
        for name in self._ours:
            os.environ.pop(name, None)
