"""``EachScheduling``, where pytest-xdist has it."""

from . import EachScheduling

__all__ = ["EachScheduling"]
