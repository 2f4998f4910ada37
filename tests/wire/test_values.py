"""Values arrive as they were sent, or as their text; sending never fails, decoding runs nothing."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import PurePosixPath
from typing import Any
from unittest.mock import MagicMock, Mock

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_braid.wire.values import pack, unpack

texts = st.text(st.characters(exclude_categories=())) | st.text()  # lone surrogates too
keys = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | texts
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=20,
)


def same(one: Any, two: Any) -> bool:
    """Equal, of equal types all the way down, in the same order, and NaN is itself."""
    if type(one) is not type(two):
        return False
    match one:
        case float():
            return math.copysign(1, one) == math.copysign(1, two) and (
                one == two or (math.isnan(one) and math.isnan(two))
            )
        case complex():
            return same(one.real, two.real) and same(one.imag, two.imag)
        case list() | tuple():
            return len(one) == len(two) and all(map(same, one, two))
        case dict():
            return same([*one.items()], [*two.items()])
        case set() | frozenset():
            return len(one) == len(two) and all(any(same(a, b) for b in two) for a in one)
        case _:
            return bool(one == two)


@given(plain)
@example({1: 2, "a": 3})
@example([-(2**63), 2**64 - 1, 2**64, -(2**63) - 1])
@example({"\udc80": ["\ud800"], (1, ("\udfff",)): None})
@example([(), [], set(), frozenset(), {}])
def test_builtin_values_arrive_as_they_were(value: Any) -> None:
    assert same(unpack(pack(value)), value)


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    WORD = "word"


class Text(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")  # noqa: PYI024 -- of any kind


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Colour.RED, 1),
        (Word.WORD, "word"),
        (Text("text"), "text"),
        (Point(1, 2), (1, 2)),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (PurePosixPath("/a/b"), "/a/b"),
        (len, str(len)),
        (Colour, str(Colour)),
        ({"a": Mock}, {"a": str(Mock)}),
    ],
)
def test_values_of_other_classes_arrive_as_what_they_are_made_of(value: Any, arrives: Any) -> None:
    assert same(unpack(pack(value)), arrives)


class Hostile:  # noqa: PLW1641 -- nothing asks for it
    def _refuse(self, *_: object) -> Any:
        raise RuntimeError

    __str__ = __repr__ = __hash__ = __iter__ = __len__ = __bool__ = _refuse
    __eq__ = _refuse


class HostileDict(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError

    keys = values = __iter__ = items


class HostileList(list[int]):
    def __iter__(self) -> Any:
        yield 1
        raise RuntimeError


class HostileText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError

    encode = __str__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        Hostile(),
        HostileDict(a=1),
        HostileList(),
        HostileText("a"),
        Mock(spec=dict),
        MagicMock(spec=list),
        Mock(spec=str),
        (n for n in range(3)),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sending_never_fails_and_costs_nothing_around(value: Any) -> None:
    sent = ["before", value, {"key": value}, (value,), "after"]
    received = unpack(pack(sent))
    assert [received[0], received[-1], len(received)] == ["before", "after", 5]


@given(st.integers(1, 3000), st.sampled_from([list, tuple, dict]))
@example(3000, tuple)
def test_depth_is_limited_and_does_not_fail(depth: int, kind: type) -> None:
    value: Any = "innermost"
    for _ in range(depth):
        value = {"k": value} if kind is dict else kind([value])
    received, levels = unpack(pack(value)), 0
    while not isinstance(received, str):
        received, levels = (received["k"] if kind is dict else received[0]), levels + 1
    assert levels == min(depth, 100)
    assert received == ("innermost" if depth <= 100 else f"<{kind.__name__} in 100 others>")


def test_what_contains_itself_is_cut_where_it_does() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    twice = [2]
    assert unpack(pack([ring, twice, twice])) == [[1, "<recursive list>"], [2], [2]]


@given(st.binary())
def test_bytes_that_are_no_value_are_refused(data: bytes) -> None:
    try:
        value = unpack(data)
    except msgspec.DecodeError:
        return
    assert same(unpack(pack(value)), value)
