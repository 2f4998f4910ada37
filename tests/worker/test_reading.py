"""Bytecode tells what a function does with what is known, by whatever name it goes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Self

from pytest_braid.worker.findings import (
    UNKNOWN,
    Called,
    Changed,
    Instance,
    Loaded,
    Unloaded,
    Use,
)
from pytest_braid.worker.reading import is_silent, read

LOG = logging.getLogger(__name__)


class Thing:
    def go(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def uses(function: Callable[..., Any], **given: object) -> list[Use]:
    assert isinstance(function, FunctionType)
    return read(function, given).uses


def loaded(function: Callable[..., Any], **given: object) -> list[object]:
    return [use.value for use in uses(function, **given) if isinstance(use, Loaded)]


def changed(function: Callable[..., Any], **given: object) -> list[tuple[object, str]]:
    return [(use.owner, use.name) for use in uses(function, **given) if isinstance(use, Changed)]


def test_attributes_of_modules_are_followed() -> None:
    def code() -> object:
        return os.path.join

    assert loaded(code) == [os, os.path, os.path.join]


def test_an_import_inside_is_followed_under_its_own_name() -> None:
    def code() -> None:
        from os import chdir as go

        go("x")

    assert loaded(code) == [os.chdir]


def test_a_module_that_nobody_has_imported_is_known_by_name() -> None:
    def code() -> None:
        import not_there.below  # type: ignore[import-not-found]

        not_there.below.do()

    assert loaded(code)[-1] == Unloaded("not_there.below.do")


def test_items_that_are_set_and_deleted_are_told_of_their_container() -> None:
    def code(x: object, *, flag: bool) -> None:
        e = os.environ
        e["A" if flag else "B"] = str(x)
        del os.environ["C"]

    assert changed(code) == [(os.environ, ""), (os.environ, "")]


def test_a_slice_that_is_set_is_told_of_its_container() -> None:
    def code() -> None:
        sys.path[:] = []

    assert changed(code) == [(sys.path, "")]


def test_an_item_that_is_read_is_no_change() -> None:
    def code(known: dict[str, str]) -> None:
        known[os.environ["HOME"]] = os.environ["PATH"]

    assert changed(code) == []


def test_attributes_that_are_set_are_told_of_their_owner() -> None:
    def code() -> None:
        os.sep = "x"
        setattr(os, "name", "y")  # noqa: B010 -- as one may write it
        delattr(os, "linesep")

    assert changed(code) == [(os, "sep"), (os, "name"), (os, "linesep")]


def test_an_attribute_that_is_added_to_is_told_as_changed() -> None:
    def code() -> None:
        sys.path += ["x"]

    assert changed(code) == [(sys, "path")]


def keywords(function: Callable[..., Any]) -> list[tuple[str, ...] | None]:
    return [
        use.keywords
        for use in uses(function)
        if isinstance(use, Called) and use.value is subprocess.run
    ]


def test_the_keywords_of_a_call_are_told() -> None:
    def code(more: dict[str, Any]) -> None:
        subprocess.run(["x"], check=False)
        subprocess.run(["x", *sys.argv], capture_output=True, check=False)
        subprocess.run(["x"], **more)  # noqa: PLW1510 -- perhaps it is in there

    assert keywords(code) == [("check",), ("capture_output", "check"), None]


def test_methods_of_an_instance_are_found_by_its_class() -> None:
    def code(given: Thing) -> Iterator[Thing]:
        given.go()
        own = Thing()
        own.go()
        with Thing() as entered:
            entered.go()
        yield own

    found = uses(code, given=Instance(Thing))
    owners = [use.owner for use in found if isinstance(use, Loaded) and use.name == "go"]
    assert owners == [Instance(Thing)] * (3 if sys.version_info < (3, 14) else 2)


def test_what_a_function_gives_is_known_if_it_is_an_instance() -> None:
    def gives() -> Thing:
        return Thing()

    def yields() -> Iterator[Thing]:
        with Path(os.devnull).open():
            yield Thing()

    def unknown(x: object) -> object:
        return x

    assert read(gives, {}).result == read(yields, {}).result == Instance(Thing)  # type: ignore[arg-type]
    assert read(unknown, {}).result is UNKNOWN  # type: ignore[arg-type]


def test_functions_inside_are_read_with_what_the_outer_knows() -> None:
    def code(names: list[int]) -> None:
        from os import environ as e

        def inner() -> None:
            e["x"] = "y"

        inner()
        [os.strerror(name) for name in names]

    assert (os.environ, "") in changed(code)
    assert os.strerror in loaded(code)


def test_a_closure_is_looked_into() -> None:
    held = os

    def code() -> None:
        held.chdir("x")

    assert loaded(code) == [os, os.chdir]


def test_a_logger_is_known_by_how_it_is_got() -> None:
    def code() -> None:
        logging.getLogger("x").setLevel(1)

    found = [use for use in uses(code) if isinstance(use, Loaded) and use.name == "setLevel"]
    assert [use.owner for use in found] == [Instance(logging.Logger)]


def test_methods_above_are_found_through_super() -> None:
    class Below(Thing):
        def go(self) -> None:
            super().go()

    owners = [use.owner for use in uses(Below.go, self=Instance(Below)) if isinstance(use, Loaded)]
    assert Instance(Below) in owners


def test_uses_know_their_lines() -> None:
    def code() -> None:
        os.chdir("x")

    first = code.__code__.co_firstlineno
    assert {use.line for use in uses(code)} == {first + 1}


def test_no_attribute_is_looked_up_by_running_code() -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    lazy: Any = Lazy("lazy")

    def code() -> None:
        lazy.thing()

    assert loaded(code) == [lazy, UNKNOWN]


def test_what_names_nothing_known_is_silent() -> None:
    def silent(x: int) -> bool:
        return len(str(x)) > x

    def stops() -> None:
        breakpoint()  # noqa: T100

    def imports() -> None:
        import signal  # noqa: F401

    assert is_silent(silent)  # type: ignore[arg-type]
    assert not is_silent(stops)  # type: ignore[arg-type]
    assert not is_silent(imports)  # type: ignore[arg-type]
    assert not is_silent(test_uses_know_their_lines)  # type: ignore[arg-type]


def test_the_whole_standard_library_can_be_read() -> None:
    """Nothing that the compiler makes is a surprise: not a stack that runs out, not an operation
    with arguments of another kind."""
    count = 0
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()):
            if type(value) is FunctionType:
                read(value, {})
                count += 1
    assert count > 1000
