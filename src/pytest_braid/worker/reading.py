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

import dis
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Final

from pytest_braid.worker.bytecode import Reader
from pytest_braid.worker.findings import Reading

_IMPORT_NAME: Final = dis.opmap["IMPORT_NAME"]


def read(function: FunctionType, given: Mapping[str, object]) -> Reading:
    """Everything that ``function`` and the functions inside it do with what is known.

    ``given`` says what is known of its arguments, by their names.
    """
    reading = Reading()
    known = {**_held(function), **given}
    Reader(function.__code__, function.__globals__, known, reading).run()
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
