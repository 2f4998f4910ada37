"""What a test must have for itself, or share with few, while it runs."""

from __future__ import annotations

import msgspec


class Hold(msgspec.Struct, frozen=True, gc=False):
    """A part of a named resource: ``slots`` of it, or, if it ``is_shared``, the right to read it.

    Whoever reads shares it with all who read, and with nobody who does not.
    """

    name: str
    slots: int = 1
    is_shared: bool = False

    def __str__(self) -> str:
        return f"resource '{self.name}'" + (" to read" if self.is_shared else "")


class Needs(msgspec.Struct, frozen=True, gc=False):
    """All that one test needs. ``holds`` are sorted by name, of which none comes twice.

    It counts as ``cpus`` of the tests that may run at once. While a test with a ``circle`` runs, no
    test of another circle does, or without one.
    """

    holds: tuple[Hold, ...] = ()
    cpus: int = 1
    circle: str | None = None


PLAIN = Needs()
"""Nothing but a worker."""


class Lack(msgspec.Struct, frozen=True, gc=False):
    """Why a test cannot run now: ``what`` it lacks, in words, and the tests that have it, or that
    wait for it and come first."""

    what: str
    by: tuple[int, ...]


ALONE = "a time apart (alone, isolated groups)"
"""What is lacked by, and because of, a test with a circle."""

CPUS = "cpus"
"""What is lacked by a test that counts as more of those that run than may, and because of it."""
