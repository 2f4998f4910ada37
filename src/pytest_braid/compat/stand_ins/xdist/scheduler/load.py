"""``LoadScheduling``, where pytest-xdist has it."""

from . import LoadScheduling

__all__ = ["LoadScheduling"]
