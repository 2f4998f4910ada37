"""What the processes of a run ask about values that they have in common: who makes one, who has it,
and who is the last to have it.

A value is of a fixture; one with parameters has several. Values and fixtures are named by whoever
asks.
"""

from __future__ import annotations

from typing import NamedTuple

from pytest_braid.model.board import Ask

ATTRIBUTE = "__pytest_braid_shared__"
"""Where the function of a fixture has its :class:`Mark`."""

ANY = "*"
"""Stands for all fixtures, where a test may ask for one by a name that it makes up."""


class Mark(NamedTuple):
    """Of a fixture whose values the processes of a run have in common.

    ``asks``: its own function may ask for others while it runs.
    """

    fixture: str
    asks: bool


class Enter(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Have a value. Answered when it is there: ``ok`` if the asker is to make it, and then say
    :class:`Made`; not ``found`` if it could not be made: its item says why, or the ``note``.

    ``ends``: there is something to be done when the last one leaves it. A ``note`` for who is to
    make it says that there was one, which has come to its end.
    """

    fixture: str
    value: str
    ends: bool


class Made(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """The asker has made a value, and has it; or could not, and is told of by ``failure``."""

    value: str
    failure: bytes = b""


class Depart(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """Have a value no longer; ``ok`` if the asker is the last, and is to do what is to be done at
    its end: it is told when all others are through. Who is through says :class:`Ended`.

    ``is_end``: of the asker's running tests none will ask for anything any more. Who could not
    begin to use the value is not ``able`` to do anything at its end, and is through at once.
    """

    value: str
    is_end: bool
    able: bool


class Ended(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """The asker is through with what it does when it leaves a value, or has failed."""

    value: str


class Settle(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """The asker runs no test any more: answered with the values (and their fixtures) that it is to
    have once more, because nobody has done what is to be done at their end."""


Question = Enter | Made | Depart | Ended | Settle
