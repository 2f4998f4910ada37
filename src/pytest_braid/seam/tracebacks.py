"""Which frames of a traceback are shown where none of them is of the test's own file: those that
are neither pytest's nor pluggy's. With strands, some are ours, which would be hidden all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _pytest import python

_FILTER = "filter_traceback"


@contextmanager
def without_frames_in(folder: Path) -> Iterator[None]:
    """Let pytest count code of a folder as its own. Where it filters otherwise than known, it does
    so as ever."""
    module: Any = python
    is_foreign = getattr(module, _FILTER, None)
    if is_foreign is None:
        yield
        return
    prefix = str(folder)

    def is_shown(entry: Any) -> bool:
        return bool(is_foreign(entry)) and not str(entry.path).startswith(prefix)

    setattr(module, _FILTER, is_shown)
    try:
        yield
    finally:
        setattr(module, _FILTER, is_foreign)
