"""Which fixtures the whole run shares, and which tests use them: found out in each process that has
collected, before the first test."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import pytest

from pytest_braid.fixtures.instances import closure_of, same_parameters
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
        self._params: list[tuple[tuple[str, object], ...]] = []
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
        key, params = self._of[id(definition)].key, self._parameters(definition, item)
        for number, share in enumerate(self.shares):
            if share.key == key and same_parameters(self._params[number], params):
                return number
        self.shares.append(self.share_of(definition, item))
        self._params.append(params)
        return len(self.shares) - 1

    def _parameters(self, definition: Any, item: pytest.Item) -> tuple[tuple[str, object], ...]:
        of_test = seam.params_of(item)
        if not of_test:
            return ()
        names = of_test.keys() & self._closure(definition, item)
        return tuple((name, of_test[name]) for name in sorted(names))

    def _closure(self, definition: Any, item: pytest.Item) -> frozenset[str]:
        visible = seam.visible(item)
        key = id(definition), id(visible)
        if key not in self._closures:
            self._closures[key] = frozenset(closure_of(definition, visible, self._argnames))
        return self._closures[key]

    def _argnames(self, definition: Any) -> tuple[str, ...]:
        """What it asks for, replaced or not."""
        shared = self._of.get(id(definition))
        return tuple(definition.argnames) if shared is None else shared.argnames

    def share_of(self, definition: Any, item: pytest.Item) -> Share:
        """A share, as its key and parameters are told to other processes."""
        shared = self._of[id(definition)]
        names = [name for name, _ in self._parameters(definition, item)]
        indices = seam.indices_of(item)
        params = ", ".join(f"{name} {indices.get(name, 0)}" for name in names)
        visible = seam.visible(item)
        uses = tuple(
            self._of[id(each)].key
            for name in sorted(self._closure(definition, item))
            for each in visible.get(name, ())
            if each is not definition and id(each) in self._of
        )
        return Share(
            shared.key, params, f"{shared.name} ({params})" if params else shared.name, uses
        )

    # --- in place of the functions --------------------------------------------------------------

    def _replace(self) -> None:
        for shared in self._of.values():
            seam.replace_function(shared.definition, _borrower(shared), ("request",))

    def restore(self) -> None:
        """Of the host, which calls the functions itself."""
        for shared in self._of.values():
            seam.replace_function(shared.definition, shared.function, shared.argnames)


def _borrower(shared: SharedDefinition) -> Any:
    """What pytest calls in a worker."""

    def borrow(request: Any) -> Generator[object, None, None]:
        __tracebackhide__ = True
        lender = request.config.pluginmanager.get_plugin("braid-borrower")
        with lender.borrowed(shared, request) as value:
            yield value

    return borrow


def _place(definition: Any) -> str:
    code = getattr(definition.func, "__code__", None)
    return "built in" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
