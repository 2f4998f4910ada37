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
    """Of this process and of those that it starts, until :meth:`lift`.

    A variable that has another value than the one written here, or has none any more, has been
    changed by the project: it is left alone from then on.
    """

    def __init__(self) -> None:
        self._written: dict[str, str | None] = dict.fromkeys(VARIABLES)

    def share(self, cores: int, workers: int) -> None:
        """Set what nobody else has set. A worker that is alone may use all cores."""
        self._clear()
        if workers > 1 and OF_ALL in self._written:  # the others go by it
            value = str(max(1, cores // workers))
            self._written = dict.fromkeys(self._written, value)
            os.environ.update(dict.fromkeys(self._written, value))

    def lift(self) -> None:
        """The run is over, and whoever called pytest goes on."""
        self._clear()

    def _clear(self) -> None:
        ours = [name for name, value in self._written.items() if os.environ.get(name) == value]
        self._written = dict.fromkeys(ours)
        for name in ours:
            os.environ.pop(name, None)
