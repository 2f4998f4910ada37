"""``LoadScopeScheduling``, where pytest-xdist has it."""

from . import LoadScopeScheduling

__all__ = ["LoadScopeScheduling"]
