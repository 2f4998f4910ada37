"""How long a test may take, and who has said so."""

from __future__ import annotations

import math
from typing import NamedTuple


class Limit(NamedTuple):
    """A test's limit. ``source`` names the option, setting or mark that a user can change."""

    seconds: float
    source: str

    def __str__(self) -> str:
        return f"{self.seconds:g} s ({self.source})"


def seconds_of(value: object) -> float | None:
    """The number of seconds that ``value``, a number or a text, stands for; 0 is one. ``None`` if
    it is no such number."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
