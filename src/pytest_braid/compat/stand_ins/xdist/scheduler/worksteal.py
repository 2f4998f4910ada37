"""``WorkStealingScheduling``, where pytest-xdist has it."""

from . import WorkStealingScheduling

__all__ = ["WorkStealingScheduling"]
