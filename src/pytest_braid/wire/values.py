"""Values of plugins and reports as bytes, and back.

What travels is data: the builtin types, exactly as they were (a tuple stays a tuple, a set a
set), and for anything else its ``str``. So nothing is ever imported or called by decoding, the
controller needs none of the project's modules, and a value that cannot be sent costs its type but
never the report it is in.
"""

from __future__ import annotations

from typing import Any

import msgspec

_PLAIN = (str, int, float, bool, bytes, type(None))
_TUPLE, _SET, _FROZENSET, _PAIRS, _BIG, _COMPLEX, _SURROGATES = range(1, 8)
_encode = msgspec.msgpack.Encoder().encode

_DEEPEST = 100
"""Levels of containers that travel; encoders count them on the C stack."""


def pack(value: object) -> bytes:
    """Encode ``value``; never fails on its content."""
    return _encode(_prepared(value, ()))


def unpack(data: bytes) -> Any:
    """Decode what :func:`pack` made.

    Raises:
        msgspec.DecodeError: ``data`` is not a packed value.
    """
    try:
        return _decoder.decode(data)
    except (ValueError, TypeError) as error:  # a text that is no UTF-8, a set of lists
        raise msgspec.DecodeError(str(error)) from error


def _prepared(value: object, above: tuple[int, ...]) -> object:
    kind = type(value)
    if kind is str:
        return _text(value)  # type: ignore[arg-type]
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _ext(_BIG, str(value))  # type: ignore[operator]
    if kind in _PLAIN:
        return value
    if id(value) in above:
        return f"<recursive {kind.__name__}>"
    if len(above) == _DEEPEST:
        return f"<{kind.__name__} in {_DEEPEST} others>"
    try:
        return _container(value, (*above, id(value)))
    except Exception as error:  # noqa: BLE001 -- the project's own class may raise anything
        return f"<{kind.__name__}: reading it raised {type(error).__name__}>"


def _container(value: object, above: tuple[int, ...]) -> object:
    match value:
        case dict():
            return _mapping(value, above)
        case list():
            return [_prepared(v, above) for v in value]
        case tuple():
            return _ext(_TUPLE, [_prepared(v, above) for v in value])
        case frozenset():
            return _ext(_FROZENSET, [_prepared(v, above) for v in value])
        case set():
            return _ext(_SET, [_prepared(v, above) for v in value])
        case complex():
            return _ext(_COMPLEX, [value.real, value.imag])
        case bytearray() | memoryview():
            return bytes(value)
        case _:
            return _odd(value)


def _mapping(value: dict[Any, Any], above: tuple[int, ...]) -> object:
    if all(type(key) is str for key in value):
        try:
            return {_checked(key): _prepared(v, above) for key, v in value.items()}
        except UnicodeEncodeError:
            pass
    return _ext(_PAIRS, [[_prepared(k, above), _prepared(v, above)] for k, v in value.items()])


def _checked(text: str) -> str:
    text.encode()
    return text


def _text(value: str) -> object:
    """Lone surrogates (a file name that is not UTF-8) are no UTF-8: they travel as bytes."""
    try:
        return _checked(value)
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(_SURROGATES, value.encode("utf-8", "surrogatepass"))


def _odd(value: object) -> object:
    """A subclass of a builtin travels as that builtin, all else as its text."""
    for base in (str, bool, int, float, bytes):
        if isinstance(value, base):
            return _prepared(base(value), ())  # type: ignore[arg-type]
    try:
        return _text(str(value))
    except Exception as error:  # noqa: BLE001 -- the project's own __str__ may raise anything
        return f"<{type(value).__name__}: str() raised {type(error).__name__}>"


def _ext(code: int, value: object) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, _encode(value))


def _extension(code: int, data: memoryview) -> object:
    if code == _SURROGATES:
        return bytes(data).decode("utf-8", "surrogatepass")
    value = _decoder.decode(data)
    match code:
        case 1:
            return tuple(value)
        case 2:
            return set(value)
        case 3:
            return frozenset(value)
        case 4:
            return {_hashable(key): item for key, item in value}
        case 5:
            return int(value)
        case 6:
            return complex(*value)
    raise msgspec.DecodeError(f"unknown extension {code} in a packed value")


def _hashable(key: Any) -> Any:
    """A key whose type was lost to ``str`` is hashable; a list can only be an odd key's content."""
    return tuple(key) if isinstance(key, list) else key


_decoder = msgspec.msgpack.Decoder(ext_hook=_extension)
