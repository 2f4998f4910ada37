"""``LoadFileScheduling``, where pytest-xdist has it."""

from . import LoadFileScheduling

__all__ = ["LoadFileScheduling"]
