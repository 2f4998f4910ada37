"""What a function's code does with things that are known before it runs, read from its bytecode.

Known are modules, what stands in them, what a closure holds, and what an import inside of the
function will bring. The instructions are gone through once, from the first to the last, with a
stack of what is known of each value. So of ::

    def test_it(runner):
        from os import environ as e
        e["HOME"] = str(runner)

is seen that an item of ``os.environ`` is set, in which line, under whatever name. Branches are not
told apart: a line counts, whether it will be reached or not.
"""

from __future__ import annotations

import builtins
import dis
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final


class _Unknown:
    """A value of which nothing is known."""


UNKNOWN: Final = _Unknown()
_NULL: Final = object()
"""What the interpreter puts beside a callable that is no method."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Some object of a known class."""

    cls: type


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A module that has not been imported yet, or a name in it."""

    name: str


@dataclass(slots=True, eq=False)
class _Use:
    """Code does something with a thing that is known."""

    code: CodeType
    offset: int

    @property
    def line(self) -> int:
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end and line is not None:
                return line
        return self.code.co_firstlineno


@dataclass(slots=True, eq=False)
class Loaded(_Use):
    """It names ``value``, found as ``name`` of ``owner`` if it is an attribute. What an instance
    has there is not known."""

    value: object
    owner: object = UNKNOWN
    name: str = ""


@dataclass(slots=True, eq=False)
class Changed(_Use):
    """It sets or deletes an attribute, or, without a name, an item."""

    owner: object
    name: str = ""


@dataclass(slots=True, eq=False)
class Called(_Use):
    """It calls, with these keywords; ``None`` where they cannot be seen. ``first`` is the first
    argument that has no keyword."""

    value: object
    keywords: tuple[str, ...] | None
    first: object = UNKNOWN


Use = Loaded | Changed | Called


@dataclass(slots=True)
class Reading:
    """What has been read of one function."""

    uses: list[Use] = field(default_factory=list)
    result: object = UNKNOWN
    """What it returns or yields, if that is known: an :class:`Instance`, say."""


def read(function: FunctionType, given: Mapping[str, object]) -> Reading:
    """Everything that ``function`` and the functions inside it do with what is known.

    ``given`` says what is known of its arguments, by their names.
    """
    reading = Reading()
    known = {**_held(function), **given}
    _Reader(function.__code__, function.__globals__, known, reading).run()
    return reading


def is_silent(function: FunctionType) -> bool:
    """Whether it can be seen at a glance that code names nothing known: it has no functions inside,
    no closure and no import, and none of its names stands in its module."""
    code, known = function.__code__, function.__globals__
    for name in code.co_names:
        if name == "breakpoint" or (name in known and name[0] != "@"):  # see _load_named
            return False
    for constant in code.co_consts:
        if type(constant) is CodeType:
            return False
    return not code.co_freevars and _IMPORT_NAME not in code.co_code[::2]


def _held(function: FunctionType) -> dict[str, object]:
    """What stands in the cells of a closure, by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it is empty as yet
            continue
    return found


_IMPORT_NAME = dis.opmap["IMPORT_NAME"]
_FLAGGED_GLOBAL = 1
_FLAGGED_ATTR = sys.version_info >= (3, 12)
"""Whether ``LOAD_ATTR`` says in its lowest bit that a method is loaded."""


class _Reader:
    """Goes through one code object, once."""

    def __init__(
        self, code: CodeType, names: dict[str, Any], known: dict[str, object], reading: Reading
    ) -> None:
        self._code = code
        self._globals = names
        self._known = known
        self._reading = reading
        self._stack: list[Any] = []
        self._keywords: tuple[str, ...] = ()
        self._offset = 0
        own = [name for name in code.co_cellvars if name not in code.co_varnames]
        self._variables = (*code.co_varnames, *own, *code.co_freevars)

    def run(self) -> None:
        for offset, operation, argument in _instructions(self._code.co_code):
            self._offset = offset
            act = _ACTS.get(operation)
            if act is None:
                self._pass_over(operation, argument)
            else:
                act(self, argument)
        for constant in self._code.co_consts:
            if type(constant) is CodeType:
                _Reader(constant, self._globals, dict(self._known), Reading(self._uses)).run()

    @property
    def _uses(self) -> list[Use]:
        return self._reading.uses

    # The stack. It may run out where branches meet: there is always something unknown below.

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        return self._stack.pop() if self._stack else UNKNOWN

    def _take(self, count: int) -> list[Any]:
        """The upper ``count`` values, the uppermost last."""
        taken = [self._pop() for _ in range(count)]
        return taken[::-1]

    def _pass_over(self, operation: int, argument: int) -> None:
        """An instruction whose result is not known."""
        change = _effect(operation, argument)
        if change > 0:
            self._stack.extend([UNKNOWN] * change)
            return
        if change:
            del self._stack[change:]
        if self._stack:
            self._stack[-1] = UNKNOWN

    def drop(self, _argument: int) -> None:
        self._pop()

    def copy(self, argument: int) -> None:
        self._push(self._stack[-argument] if argument <= len(self._stack) else UNKNOWN)

    def swap(self, argument: int) -> None:
        if argument <= len(self._stack):
            stack = self._stack
            stack[-1], stack[-argument] = stack[-argument], stack[-1]

    def nothing(self, _argument: int) -> None:
        pass

    # Names.

    def load_const(self, argument: int) -> None:
        self._push(self._code.co_consts[argument])

    def load_small(self, argument: int) -> None:
        self._push(argument)

    def load_null(self, _argument: int) -> None:
        self._push(_NULL)

    def load_global(self, argument: int) -> None:
        if argument & _FLAGGED_GLOBAL:
            self._push(_NULL)  # which of the two is above depends on the Python; see _call_with
        self._load_named(self._code.co_names[argument >> 1])

    def load_name(self, argument: int) -> None:
        name = self._code.co_names[argument]
        if name in self._known:
            self._push(self._known[name])
        else:
            self._load_named(name)

    def _load_named(self, name: str) -> None:
        if name[0] == "@":  # pytest's own, in what it has made of an assert
            self._push(UNKNOWN)
            return
        value = self._globals.get(name, _BUILTINS.get(name, UNKNOWN))
        self._push(value)
        if value is not UNKNOWN and type(value) not in _PLAIN:
            self._uses.append(Loaded(self._code, self._offset, value))

    def load_variable(self, argument: int) -> None:
        self._push(self._known.get(self._variables[argument], UNKNOWN))

    def load_held(self, argument: int) -> None:
        self.load_variable(argument)
        if (value := self._stack[-1]) is not UNKNOWN:
            self._uses.append(Loaded(self._code, self._offset, value))

    def load_held_in_class(self, argument: int) -> None:
        self._pop()
        self.load_held(argument)

    def load_two(self, argument: int) -> None:
        self.load_variable(argument >> 4)
        self.load_variable(argument & 15)

    def store_variable(self, argument: int) -> None:
        self._known[self._variables[argument]] = self._pop()

    def store_two(self, argument: int) -> None:
        self.store_variable(argument >> 4)
        self.store_variable(argument & 15)

    def store_and_load(self, argument: int) -> None:
        self.store_variable(argument >> 4)
        self.load_variable(argument & 15)

    def store_name(self, argument: int) -> None:
        self._known[self._code.co_names[argument]] = self._pop()

    # Modules and attributes.

    def import_name(self, argument: int) -> None:
        level, names = self._take(2)
        name = self._code.co_names[argument]
        if isinstance(level, int) and level:
            name = self._absolute(name, level)
        if not names:
            name = name.partition(".")[0]
        self._push(sys.modules.get(name, Unloaded(name)))

    def _absolute(self, name: str, level: int) -> str:
        try:
            return importlib.util.resolve_name("." * level + name, self._globals["__package__"])
        except (ImportError, KeyError, TypeError):
            return ""

    def import_from(self, argument: int) -> None:
        module = self._stack[-1] if self._stack else UNKNOWN
        self._push_attribute(module, self._code.co_names[argument])

    def load_attr(self, argument: int) -> None:
        if _FLAGGED_ATTR:
            self._attribute(argument >> 1, is_method=bool(argument & 1))
        else:
            self._attribute(argument, is_method=False)

    def load_method(self, argument: int) -> None:
        self._attribute(argument, is_method=True)

    def _attribute(self, argument: int, *, is_method: bool) -> None:
        self._push_attribute(self._pop(), self._code.co_names[argument])
        if is_method:
            self._push(_NULL)

    def _push_attribute(self, owner: object, name: str) -> None:
        value = _attribute_of(owner, name)
        self._push(value)
        if owner is not UNKNOWN and type(owner) not in _PLAIN:
            self._uses.append(Loaded(self._code, self._offset, value, owner, name))

    def load_super(self, argument: int) -> None:
        """``super().name``: which of the classes above has it is not told apart."""
        *_, instance = self._take(3)
        self._push_attribute(instance, self._code.co_names[argument >> 2])
        if argument & 1:
            self._push(_NULL)

    def change_attr(self, argument: int) -> None:
        self._change(self._pop(), self._code.co_names[argument])

    def store_attr(self, argument: int) -> None:
        self.change_attr(argument)
        self._pop()

    def _change(self, owner: object, name: str = "") -> None:
        if owner is not UNKNOWN:
            self._uses.append(Changed(self._code, self._offset, owner, name))

    def store_item(self, _argument: int) -> None:
        _value, owner, _key = self._take(3)
        self._change(owner)

    def delete_item(self, _argument: int) -> None:
        owner, _key = self._take(2)
        self._change(owner)

    def store_slice(self, _argument: int) -> None:
        _value, owner, _start, _end = self._take(4)
        self._change(owner)

    # Calls.

    def note_keywords(self, argument: int) -> None:
        self._keywords = self._code.co_consts[argument]

    def call(self, argument: int) -> None:
        keywords, self._keywords = self._keywords, ()
        given = self._take(argument)
        self._call_with(given, keywords)

    def call_named(self, argument: int) -> None:
        keywords = self._pop()
        given = self._take(argument)
        self._call_with(given, keywords if isinstance(keywords, tuple) else None)

    def call_spread(self, argument: int) -> None:
        self._take(2 if sys.version_info >= (3, 14) else 1 + (argument & 1))
        self._call_with([], None)

    def _call_with(self, given: list[Any], keywords: tuple[str, ...] | None) -> None:
        first, second = self._take(2)
        called = second if first is _NULL else first
        self._push(self._self() if called is super else _result_of(called))
        if called is setattr or called is delattr:
            owner, name = (*given, UNKNOWN, UNKNOWN)[:2]
            self._change(owner, name if _is(name, str) else "...")
        elif called is not UNKNOWN:
            first = given[0] if len(given) > len(keywords or ()) else UNKNOWN
            self._uses.append(Called(self._code, self._offset, called, keywords, first))

    def _self(self) -> object:
        return self._known.get(self._variables[0], UNKNOWN) if self._variables else UNKNOWN

    def enter(self, _argument: int) -> None:
        """``with``: what it gives is mostly the thing itself."""
        value = self._pop()
        self._push(UNKNOWN)
        self._push(value)

    def leave(self, _argument: int) -> None:
        value = self._pop()
        if _is(value, Instance):
            self._reading.result = value

    def yield_(self, argument: int) -> None:
        self.leave(argument)
        self._push(UNKNOWN)


_PLAIN: Final = frozenset({str, bytes, int, float, bool, tuple, type(None), frozenset})


def _attribute_of(owner: Any, name: str) -> object:
    """What stands there now, without any code of the owner's being run."""
    if _is(owner, ModuleType):
        below = sys.modules.get(f"{owner.__name__}.{name}", UNKNOWN)
        return vars(owner).get(name, below)
    if _is(owner, Unloaded):
        return Unloaded(f"{owner.name}.{name}")
    if _is(owner, type):
        return next(definitions(owner, name), UNKNOWN)
    return UNKNOWN


def _is(value: object, kind: type) -> bool:
    """``isinstance`` would ask the value, which may be a proxy, for its class."""
    return issubclass(type(value), kind)


def definitions(cls: type, name: str) -> Iterator[object]:
    """What a class and the classes above it have under a name, that of the class first."""
    for each in cls.__mro__:
        if name in vars(each):
            value = vars(each)[name]
            yield value.__func__ if _is(value, staticmethod) or _is(value, classmethod) else value


def _result_of(called: Any) -> object:
    if _is(called, type):
        return Instance(called)
    return Instance(logging.Logger) if called is logging.getLogger else UNKNOWN


def _instructions(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, operation and argument of each instruction, without the caches between them."""
    extended = 0
    for offset in range(0, len(code), 2):
        operation, argument = code[offset], code[offset + 1] | extended
        if operation == dis.EXTENDED_ARG:
            extended = argument << 8
        elif operation != _CACHE:
            extended = 0
            yield offset, operation, argument


_CACHE = dis.opmap.get("CACHE", 0)
_BUILTINS = vars(builtins)


@cache
def _effect(operation: int, argument: int) -> int:
    has_argument = operation >= dis.HAVE_ARGUMENT
    return dis.stack_effect(operation, argument if has_argument else None, jump=False)


_BY_NAME: Final[dict[str, Callable[[_Reader, int], None]]] = {
    "BEFORE_WITH": _Reader.enter,
    "CALL": _Reader.call,
    "CALL_FUNCTION_EX": _Reader.call_spread,
    "CALL_KW": _Reader.call_named,
    "COPY": _Reader.copy,
    "DELETE_ATTR": _Reader.change_attr,
    "DELETE_SUBSCR": _Reader.delete_item,
    "IMPORT_FROM": _Reader.import_from,
    "IMPORT_NAME": _Reader.import_name,
    "KW_NAMES": _Reader.note_keywords,
    "LOAD_ATTR": _Reader.load_attr,
    "LOAD_CLASSDEREF": _Reader.load_held,
    "LOAD_CONST": _Reader.load_const,
    "LOAD_DEREF": _Reader.load_held,
    "LOAD_FAST": _Reader.load_variable,
    "LOAD_FAST_AND_CLEAR": _Reader.load_variable,
    "LOAD_FAST_BORROW": _Reader.load_variable,
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": _Reader.load_two,
    "LOAD_FAST_CHECK": _Reader.load_variable,
    "LOAD_FAST_LOAD_FAST": _Reader.load_two,
    "LOAD_FROM_DICT_OR_DEREF": _Reader.load_held_in_class,
    "LOAD_GLOBAL": _Reader.load_global,
    "LOAD_METHOD": _Reader.load_method,
    "LOAD_NAME": _Reader.load_name,
    "LOAD_SMALL_INT": _Reader.load_small,
    "LOAD_SUPER_ATTR": _Reader.load_super,
    "NOT_TAKEN": _Reader.nothing,
    "POP_TOP": _Reader.drop,
    "PRECALL": _Reader.nothing,
    "PUSH_NULL": _Reader.load_null,
    "RETURN_VALUE": _Reader.leave,
    "STORE_ATTR": _Reader.store_attr,
    "STORE_DEREF": _Reader.store_variable,
    "STORE_FAST": _Reader.store_variable,
    "STORE_FAST_LOAD_FAST": _Reader.store_and_load,
    "STORE_FAST_STORE_FAST": _Reader.store_two,
    "STORE_GLOBAL": _Reader.drop,
    "STORE_NAME": _Reader.store_name,
    "STORE_SLICE": _Reader.store_slice,
    "STORE_SUBSCR": _Reader.store_item,
    "SWAP": _Reader.swap,
    "YIELD_VALUE": _Reader.yield_,
}
"""What instructions do with what is known; those of another Python are not found."""

_POPPING = ("POP_JUMP", "JUMP_IF", "LIST_APPEND", "SET_ADD", "LIST_EXTEND", "SET_UPDATE", "DICT_")
"""They take one value, and what is below stays as it was. So does ``JUMP_FORWARD``, in a way: it
leaves the first half of a conditional expression, whose value the other half does not meet."""


def _act(name: str) -> Callable[[_Reader, int], None] | None:
    if name == "JUMP_FORWARD" or name.startswith(_POPPING):
        return _Reader.drop
    return _BY_NAME.get(name)


_ACTS: Final = {
    number: act for name, number in dis.opmap.items() if (act := _act(name)) is not None
}
