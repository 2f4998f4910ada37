"""What tests ask of each other's processes: a lock, a message, who else is on a trail.

Keys and values are bytes here: whoever asks has encoded them, and nobody else looks into them.
"""

from __future__ import annotations

import msgspec


class Ask(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Base of all that is asked. ``number`` tells a process's questions from each other."""

    number: int


class Acquire(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Take a lock. Answered when it is taken; unless it ``waits``, at once. ``test`` is the node id
    of the test that asks, where its process runs several at once."""

    lock: str
    waits: bool
    test: str = ""


class Cancel(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Nobody waits for the answer to the :class:`Acquire` of this number any more: whoever had got
    the lock gives it back. Not answered."""


class Release(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Give a lock back, whoever has taken it; not ``ok`` if nobody has."""

    lock: str


class Join(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Be counted on a trail; ``ok`` if nobody else is."""

    trail: str


class Leave(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Be counted on a trail no longer; ``ok`` if nobody is left. ``found`` says whether anybody
    was."""

    trail: str


class Get(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """What is on the board under a key."""

    key: bytes


class Put(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Write on the board; answered with what is there now: if ``only_new``, that may be older."""

    key: bytes
    value: bytes
    only_new: bool = False


class Remove(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Take off the board what is under a key, or what came last; answered with it."""

    key: bytes | None


class Clear(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Take off all."""


class Items(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """All keys and values."""


Question = Acquire | Cancel | Release | Join | Leave | Get | Put | Remove | Clear | Items


class Answer(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """To the question of this number.

    ``note`` tells of a process that has ended with the lock that is yours now. ``items`` are
    what was found on the board.
    """

    number: int
    ok: bool = True
    found: bool = True
    note: str = ""
    items: tuple[tuple[bytes, bytes], ...] = ()
