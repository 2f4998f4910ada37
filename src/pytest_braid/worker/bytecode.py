"""Python's instructions, gone through with a stack of what is known of each value."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, ModuleType
from typing import Any, Final

from pytest_braid.worker.findings import (
    UNKNOWN,
    Called,
    Changed,
    Instance,
    Loaded,
    Reading,
    Unloaded,
    Use,
    definitions,
    is_a,
)

_NULL: Final = object()
"""What the interpreter puts beside a callable that is no method."""

_FLAGGED_GLOBAL = 1
_FLAGGED_ATTR = sys.version_info >= (3, 12)
"""Whether ``LOAD_ATTR`` says in its lowest bit that a method is loaded."""


class Reader:
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
                Reader(constant, self._globals, dict(self._known), Reading(self._uses)).run()

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
            self._change(owner, name if is_a(name, str) else "...")
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
        if is_a(value, Instance):
            self._reading.result = value

    def yield_(self, argument: int) -> None:
        self.leave(argument)
        self._push(UNKNOWN)


_PLAIN: Final = frozenset({str, bytes, int, float, bool, tuple, type(None), frozenset})


def _attribute_of(owner: Any, name: str) -> object:
    """What stands there now, without any code of the owner's being run."""
    if is_a(owner, ModuleType):
        below = sys.modules.get(f"{owner.__name__}.{name}", UNKNOWN)
        return vars(owner).get(name, below)
    if is_a(owner, Unloaded):
        return Unloaded(f"{owner.name}.{name}")
    if is_a(owner, type):
        return next(definitions(owner, name), UNKNOWN)
    return UNKNOWN


def _result_of(called: Any) -> object:
    if is_a(called, type):
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


_BY_NAME: Final[dict[str, Callable[[Reader, int], None]]] = {
    "BEFORE_WITH": Reader.enter,
    "CALL": Reader.call,
    "CALL_FUNCTION_EX": Reader.call_spread,
    "CALL_KW": Reader.call_named,
    "COPY": Reader.copy,
    "DELETE_ATTR": Reader.change_attr,
    "DELETE_SUBSCR": Reader.delete_item,
    "IMPORT_FROM": Reader.import_from,
    "IMPORT_NAME": Reader.import_name,
    "KW_NAMES": Reader.note_keywords,
    "LOAD_ATTR": Reader.load_attr,
    "LOAD_CLASSDEREF": Reader.load_held,
    "LOAD_CONST": Reader.load_const,
    "LOAD_DEREF": Reader.load_held,
    "LOAD_FAST": Reader.load_variable,
    "LOAD_FAST_AND_CLEAR": Reader.load_variable,
    "LOAD_FAST_BORROW": Reader.load_variable,
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": Reader.load_two,
    "LOAD_FAST_CHECK": Reader.load_variable,
    "LOAD_FAST_LOAD_FAST": Reader.load_two,
    "LOAD_FROM_DICT_OR_DEREF": Reader.load_held_in_class,
    "LOAD_GLOBAL": Reader.load_global,
    "LOAD_METHOD": Reader.load_method,
    "LOAD_NAME": Reader.load_name,
    "LOAD_SMALL_INT": Reader.load_small,
    "LOAD_SUPER_ATTR": Reader.load_super,
    "NOT_TAKEN": Reader.nothing,
    "POP_TOP": Reader.drop,
    "PRECALL": Reader.nothing,
    "PUSH_NULL": Reader.load_null,
    "RETURN_VALUE": Reader.leave,
    "STORE_ATTR": Reader.store_attr,
    "STORE_DEREF": Reader.store_variable,
    "STORE_FAST": Reader.store_variable,
    "STORE_FAST_LOAD_FAST": Reader.store_and_load,
    "STORE_FAST_STORE_FAST": Reader.store_two,
    "STORE_GLOBAL": Reader.drop,
    "STORE_NAME": Reader.store_name,
    "STORE_SLICE": Reader.store_slice,
    "STORE_SUBSCR": Reader.store_item,
    "SWAP": Reader.swap,
    "YIELD_VALUE": Reader.yield_,
}
"""What instructions do with what is known; those of another Python are not found."""

_POPPING = ("POP_JUMP", "JUMP_IF", "LIST_APPEND", "SET_ADD", "LIST_EXTEND", "SET_UPDATE", "DICT_")
"""They take one value, and what is below stays as it was. So does ``JUMP_FORWARD``, in a way: it
leaves the first half of a conditional expression, whose value the other half does not meet."""


def _act(name: str) -> Callable[[Reader, int], None] | None:
    if name == "JUMP_FORWARD" or name.startswith(_POPPING):
        return Reader.drop
    return _BY_NAME.get(name)


_ACTS: Final = {
    number: act for name, number in dis.opmap.items() if (act := _act(name)) is not None
}
