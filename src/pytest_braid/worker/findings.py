"""What is known of values before code runs, and what code is found to do with them."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Final

import msgspec


class _Unknown:
    """A value of which nothing is known."""


UNKNOWN: Final = _Unknown()


class Instance(msgspec.Struct, frozen=True):
    """Some object of a known class."""

    cls: type


class Unloaded(msgspec.Struct, frozen=True):
    """A module that has not been imported yet, or a name in it."""

    name: str


class _Use(msgspec.Struct, eq=False):
    """Code does something with a thing that is known."""

    code: CodeType
    offset: int

    @property
    def line(self) -> int:
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end and line is not None:
                return line
        return self.code.co_firstlineno


class Loaded(_Use):
    """It names ``value``, found as ``name`` of ``owner`` if it is an attribute. What an instance
    has there is not known."""

    value: object
    owner: object = UNKNOWN
    name: str = ""


class Changed(_Use):
    """It sets or deletes an attribute, or, without a name, an item."""

    owner: object
    name: str = ""


class Called(_Use):
    """It calls, with these keywords; ``None`` where they cannot be seen. ``first`` is the first
    argument that has no keyword."""

    value: object
    keywords: tuple[str, ...] | None
    first: object = UNKNOWN


Use = Loaded | Changed | Called


class Reading(msgspec.Struct):
    """What has been read of one function."""

    uses: list[Use] = msgspec.field(default_factory=list)
    result: object = UNKNOWN
    """What it returns or yields, if that is known: an :class:`Instance`, say."""


def is_a(value: object, kind: type) -> bool:
    """``isinstance`` would ask the value, which may be a proxy, for its class."""
    return issubclass(type(value), kind)


def definitions(cls: type, name: str) -> Iterator[object]:
    """What a class and the classes above it have under a name, that of the class first."""
    for each in cls.__mro__:
        if name in vars(each):
            value = vars(each)[name]
            yield value.__func__ if is_a(value, staticmethod) or is_a(value, classmethod) else value
