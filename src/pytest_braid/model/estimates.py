"""What is expected of a run before it begins: learnt from earlier ones, if there were any."""

from __future__ import annotations

import msgspec


class Instance(msgspec.Struct, frozen=True, gc=False):
    """A fixture that several tests share: one value of it, at one place and with one parameter.

    ``fixture`` names all instances that are made alike, as in the history. ``setup`` are the
    seconds that one takes to make, ``None`` if nobody knows. Of a fixture without parameters there
    is one instance at a place, so that a worker with a part of a module makes one, too.
    """

    fixture: str
    is_parametrized: bool = False
    setup: float | None = None


class Estimates(msgspec.Struct, frozen=True):
    """``durations`` are the seconds of the tests, without the setup of fixtures that they share;
    ``None`` for a test that nobody knows, and empty if none is known. ``instances`` are those that
    ``TestSpec.fixtures`` counts."""

    durations: tuple[float | None, ...] = ()
    instances: tuple[Instance, ...] = ()


NOTHING_KNOWN = Estimates()
"""Of a first run."""
