"""Which fixtures the whole run shares, and which tests use them: found out in each process that has
collected, before the first test."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, NamedTuple

import pytest

from pytest_braid.fixtures.instances import closure_of, same_value
from pytest_braid.fixtures.shared import PICKLE, Serializer, serializer_of_function
from pytest_braid.model.shares import Share
from pytest_braid.seam import sharing as seam
from pytest_braid.worker.uses import NOTHING, Uses


class SharedDefinition(NamedTuple):
    """A definition that is set up in the fixture host, as it was before it was replaced."""

    key: str
    name: str
    definition: Any
    function: Any
    argnames: tuple[str, ...]
    serializer: Serializer


class Sharing:
    """The shared fixtures of a session. Their definitions are replaced: ``restore`` undoes that."""

    def __init__(self, session: pytest.Session) -> None:
        self.shares: list[Share] = []
        self.uses: list[Uses] = []
        self._values: dict[str, list[object]] = {}
        """Of parameters, by name: those that differ."""
        self._of: dict[int, SharedDefinition] = {}
        self._closures: dict[tuple[int, int], frozenset[str]] = {}
        self._find(session)
        if not self._of:
            self.uses = [NOTHING] * len(session.items)
            return
        why_not = seam.why_not(session)
        if why_not is not None:
            raise pytest.UsageError(
                f"fixtures cannot be shared by the whole run here: {why_not}. This version of "
                "pytest-braid knows pytest otherwise; run with -n 0, or with another version of "
                "one of the two."
            )
        self._note_choices(session.items)
        self.uses = [self._uses(item) for item in session.items]
        self._replace()
        for item in session.items:
            if any(id(each) in self._of for of in seam.visible(item).values() for each in of):
                seam.prune(item)

    def _find(self, session: pytest.Session) -> None:
        names = {*session.config.getini("braid_share")}
        for name, definition in seam.all_definitions(session):
            marked = serializer_of_function(definition.func)
            if marked is None and name not in names:
                continue
            if not seam.is_of_session(definition):
                raise pytest.UsageError(
                    f"the ini option braid_share: fixture {name!r} ({_place(definition)}) has "
                    f"scope {definition.scope!r}: only a fixture of scope 'session' can be shared "
                    "by the whole run. Change its scope, or take its name out of braid_share"
                )
            self._of[id(definition)] = SharedDefinition(
                seam.key_of(name, definition),
                name,
                definition,
                definition.func,
                tuple(definition.argnames),
                marked or PICKLE,
            )

    def of_key(self, key: str) -> SharedDefinition:
        return next(each for each in self._of.values() if each.key == key)

    def __iter__(self) -> Iterator[SharedDefinition]:
        yield from self._of.values()

    # --- who uses what ------------------------------------------------------------------------

    def _uses(self, item: pytest.Item) -> Uses:
        """Of the test itself: what shared fixtures are made of is their own affair."""
        found: dict[int, None] = {}
        seen: set[tuple[str, int]] = set()
        rest = [(name, -1) for name in seam.initial_names(item)]
        may_ask = "request" in seam.asked_by_test(item)
        visible = seam.visible(item)
        while rest:
            name, index = rest.pop()
            definitions = visible.get(name, ())
            if (name, index) in seen or -index > len(definitions):
                continue
            seen.add((name, index))
            definition = definitions[index]
            if id(definition) in self._of:
                found[self._number(definition, item)] = None
                continue
            may_ask |= "request" in definition.argnames and not seam.is_pytests_own(definition)
            rest += [(arg, index - 1 if arg == name else -1) for arg in definition.argnames]
        return Uses(tuple(sorted(found)), may_ask)

    def _number(self, definition: Any, item: pytest.Item) -> int:
        share = self.share_of(definition, item)
        if share not in self.shares:
            self.shares.append(share)
        return self.shares.index(share)

    def _choices(self, definition: Any, item: pytest.Item) -> list[tuple[str, int]]:
        """The parameters that it is made with for this test: names, and which values."""
        of_test = seam.params_of(item)
        if not of_test:
            return []
        names = of_test.keys() & self._closure(definition, item)
        return [(name, self._choice(name, of_test[name])) for name in sorted(names)]

    def _choice(self, name: str, value: object) -> int:
        known = self._values.setdefault(name, [])
        for number, each in enumerate(known):
            if same_value(each, value):
                return number
        known.append(value)
        return len(known) - 1

    def _note_choices(self, items: list[pytest.Item]) -> None:
        """Number the values of parameters alike in every process, in whatever order it has
        collected the tests."""
        for item in sorted(items, key=lambda item: item.nodeid):
            if seam.params_of(item):
                for shared in self._of.values():
                    self._choices(shared.definition, item)

    def _closure(self, definition: Any, item: pytest.Item) -> frozenset[str]:
        visible = seam.visible(item)
        key = id(definition), id(visible)
        if key not in self._closures:
            self._closures[key] = frozenset(closure_of(definition, visible))
        return self._closures[key]

    def share_of(self, definition: Any, item: pytest.Item) -> Share:
        """A share, as its key and parameters are told to other processes."""
        shared = self._of[id(definition)]
        choices = self._choices(definition, item)
        params = ", ".join(f"{name} {number}" for name, number in choices)
        shown = ", ".join(f"{name}={_shown(self._values[name][n])}" for name, n in choices)
        visible = seam.visible(item)
        uses = tuple(
            self._of[id(each)].key
            for name in sorted(self._closure(definition, item))
            for each in visible.get(name, ())
            if each is not definition and id(each) in self._of
        )
        label = f"{shared.name}[{shown}]" if choices else shared.name
        return Share(shared.key, params, label, uses)

    # --- in place of the functions --------------------------------------------------------------

    def _replace(self) -> None:
        for shared in self._of.values():
            seam.replace_function(shared.definition, _borrower(shared), ("request",))
            key = partial(self._cache_key, shared.definition)
            seam.keep_value_for(shared.definition, key, shared.argnames)

    def _cache_key(self, definition: Any, request: Any) -> str:
        """What pytest compares to find out whether a value is still that of this test."""
        return self.share_of(definition, seam.item_of(request)).params

    def restore(self) -> None:
        """Of the host, which calls the functions itself."""
        for shared in self._of.values():
            seam.replace_function(shared.definition, shared.function, shared.argnames)
            seam.keep_value_as_ever(shared.definition)


def _borrower(shared: SharedDefinition) -> Any:
    """What pytest calls in a worker."""

    def borrow(request: Any) -> Generator[object, None, None]:
        __tracebackhide__ = True
        lender = request.config.pluginmanager.get_plugin("braid-borrower")
        borrowed = lender.borrow(shared, request)
        try:
            yield borrowed.value
        finally:
            lender.give_back(borrowed)

    return borrow


def _shown(value: object) -> str:
    plain = isinstance(value, str | int | float | bool | None)
    return repr(value) if plain else type(value).__qualname__


def _place(definition: Any) -> str:
    code = getattr(definition.func, "__code__", None)
    return "built in" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
