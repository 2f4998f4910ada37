"""Session fixtures whose value processes have in common: what happens in each of them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import pickle
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pytest

from pytest_braid.compat.shared_failures import crashed, packed, unpacked
from pytest_braid.compat.shared_stores import CleanupToken, Store, StoreValueNotExists
from pytest_braid.fixtures import alone
from pytest_braid.model import board as b
from pytest_braid.model import holders as h

Steps = Generator[Any, Any, Any]
"""A fixture function that has begun."""

_made: dict[str, Shared] = {}
"""All that this process knows, by their names."""


class Asker(Protocol):
    """Who asks the controller, and waits for its answer."""

    def ask(self, kind: Callable[..., b.Ask], *words: object) -> b.Answer:
        """The answer to a question of this kind."""
        ...


@dataclass(frozen=True)
class Sharing:
    """How a value travels; ``first`` is what the function is given that is to make it."""

    store: Store[Any]
    parse: Callable[[Any], Any]
    serialize: Callable[[Any], Any]
    deserialize: Callable[[Any], Any]
    first: object


class Shared(NamedTuple):
    """A fixture function and how its value travels. ``name`` is told to the controller; tests ask
    for it as something else."""

    function: Callable[..., Any]
    sharing: Sharing
    params: Sequence[Any]
    name: str
    asked_as: str
    signature: inspect.Signature

    @property
    def yields(self) -> bool:
        return inspect.isgeneratorfunction(self.function)

    @property
    def extra(self) -> list[str]:
        """The fixtures that are asked for besides those of the function."""
        wanted = dict.fromkeys([*self.sharing.store.fixtures, "request"])
        return [name for name in wanted if name not in self.signature.parameters]

    def value(self, index: int, param: object) -> str:
        """The name of a value. A parameter that a test gives (``indirect``) is told from others of
        the same index."""
        known = self.params[index] if index < len(self.params) else param
        if isinstance(known, type(pytest.param())):
            known = known.values[0] if known.values else None
        if not self.params and param is None:
            return f"{self.name}.0"
        if self.params and (known is param or known == param):
            return f"{self.name}.{index}"
        try:
            data = pickle.dumps(param)
        except Exception:  # noqa: BLE001 -- of what kind it cannot be told is open
            data = repr(param).encode()
        return f"{self.name}.{index}-{hashlib.sha256(data).hexdigest()[:16]}"


def asker_of(config: Any) -> Asker | None:
    """Who asks the controller; ``None`` where there are no workers.

    Raises:
        pytest.UsageError: this is another plugin's worker.
    """
    if not hasattr(config, "workerinput"):
        return None
    asker: Asker | None = config.pluginmanager.get_plugin("braid-clerk")
    if asker is None:
        raise pytest.UsageError(
            "the fixtures of pytest_braid.compat.shared_session_scope are shared by the workers of "
            "pytest-braid, and this worker is another plugin's: do not disable braid "
            "(-p no:braid), or run without workers"
        )
    return asker


def known(name: str) -> Shared | None:
    """The shared fixture of this name."""
    return _made.get(name)


def shared(
    function: Callable[..., Any], sharing: Sharing, params: Sequence[Any], asked_as: str
) -> Callable[..., Any]:
    """Make a fixture function of one that tells of itself by what it yields."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is async, and a fixture of pytest-shared-session-scope is "
            "not: let it be a plain function, which runs asyncio.run(...) itself"
        )
    name = _name(function)
    made = _made[name] = Shared(
        function, sharing, params, name, asked_as, inspect.signature(function)
    )

    if made.yields:

        @functools.wraps(function)
        def fixture(*args: Any, **given: Any) -> Any:
            __tracebackhide__ = True
            yield from Use(made, args, given).steps()

    else:

        @functools.wraps(function)
        def fixture(*args: Any, **given: Any) -> Any:
            __tracebackhide__ = True
            return Use(made, args, given).value()

    of: Any = fixture
    of.__signature__ = _extended(made)
    setattr(of, h.ATTRIBUTE, h.Mark(name, "request" in made.signature.parameters))
    return fixture


def _name(function: Callable[..., Any]) -> str:
    """Its module and name; another function of the same ones gets a number, too."""
    name = base = f"{function.__module__}.{function.__qualname__}"
    number = 1
    while name in _made:
        number += 1
        name = f"{base}~{number}"
    return name


def _extended(made: Shared) -> inspect.Signature:
    """With a parameter more for each of the ``extra`` fixtures."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [*made.signature.parameters.values()]
    parameters += [inspect.Parameter(name, kind) for name in made.extra]
    return made.signature.replace(parameters=parameters)


class Use:
    """One setup of a shared fixture in this process, and what belongs to it."""

    def __init__(self, made: Shared, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        self._made = made
        self._sharing = made.sharing
        self._request: Any = given["request"]
        self._values = {name: given[name] for name in (*made.sharing.store.fixtures, "request")}
        own = {name: value for name, value in given.items() if name in made.signature.parameters}
        self._call = functools.partial(made.function, *args, **own)
        param = getattr(self._request, "param", None)
        self._value = made.value(getattr(self._request, "param_index", 0), param)

    # --- without workers ----------------------------------------------------------------------

    def value(self) -> Any:
        """Of a function that returns it."""
        __tracebackhide__ = True
        asker = asker_of(self._request.config)
        data = self._call() if asker is None else self._enter(asker)[1]
        return self._sharing.parse(data)

    def steps(self) -> Steps:
        """Of a function that yields: what pytest is to see of it."""
        __tracebackhide__ = True
        asker = asker_of(self._request.config)
        if asker is not None:
            yield from self._steps(asker)
            return
        steps = self._begun()
        data = self._first(steps)
        yield self._sharing.parse(data)
        self._end(steps, CleanupToken.LAST)

    # --- in a worker --------------------------------------------------------------------------

    def _steps(self, asker: Asker) -> Steps:
        __tracebackhide__ = True
        steps, data = self._enter(asker)
        try:
            value = self._sharing.parse(data)
        except BaseException:
            self._depart(asker, steps)
            raise
        yield value
        self._depart(asker, steps)

    def _enter(self, asker: Asker) -> tuple[Steps | None, Any]:
        """Make the value, or have it from who has made it."""
        __tracebackhide__ = True
        made = self._made
        answer = asker.ask(h.Enter, made.name, self._value, made.yields)
        if not answer.found:
            if answer.items:
                raise unpacked(answer.items[0][1], made.name) from None
            raise crashed(made.name, answer.note)
        if not answer.ok:
            return self._join(asker)
        try:
            entered = self._make(is_again=bool(answer.note))
        except BaseException as error:
            worker = self._request.config.workerinput["workerid"]
            asker.ask(h.Made, self._value, packed(error, worker))
            raise
        asker.ask(h.Made, self._value)
        return entered

    def _make(self, *, is_again: bool) -> tuple[Steps | None, Any]:
        """Unless it is there from another run. What is given is what was stored, as in the other
        processes: it makes no difference in which of them a test runs."""
        __tracebackhide__ = True
        store, values = self._sharing.store, self._values
        with store.lock(self._value, values):
            steps = self._begun()
            try:
                if not is_again:
                    data = self._stored()
                    self._send(steps, data)
                    return steps, data
            except StoreValueNotExists:
                pass
            made = self._first(steps)
            store.write(self._value, self._sharing.serialize(made), values)
            return steps, self._stored()

    def _join(self, asker: Asker) -> tuple[Steps | None, Any]:
        __tracebackhide__ = True
        try:
            with self._sharing.store.lock(self._value, self._values):
                steps = self._begun()
                data = self._stored()
                self._send(steps, data)
        except BaseException:
            if self._made.yields:
                asker.ask(h.Depart, self._value, False, False)
            raise
        return steps, data

    def _stored(self) -> Any:
        __tracebackhide__ = True
        return self._sharing.deserialize(self._sharing.store.read(self._value, self._values))

    def _depart(self, asker: Asker, steps: Steps | None) -> None:
        __tracebackhide__ = True
        is_end = alone.is_session_ending(self._request.session)
        is_last = asker.ask(h.Depart, self._value, is_end, True).ok
        try:
            self._end(steps, CleanupToken.LAST if is_last else None)
        finally:
            asker.ask(h.Ended, self._value)

    # --- the function -------------------------------------------------------------------------

    def _begun(self) -> Steps | None:
        """Up to its first ``yield``, if it has any."""
        __tracebackhide__ = True
        if not self._made.yields:
            return None
        steps: Steps = self._call()
        self._advance(steps.__next__, "has not yielded at all")
        return steps

    def _first(self, steps: Steps | None) -> Any:
        __tracebackhide__ = True
        return self._call() if steps is None else self._send(steps, self._sharing.first)

    def _send(self, steps: Steps | None, value: object) -> Any:
        __tracebackhide__ = True
        if steps is None:
            return None
        return self._advance(functools.partial(steps.send, value), "has yielded only once")

    def _advance(self, step: Callable[[], Any], fault: str) -> Any:
        __tracebackhide__ = True
        try:
            return step()
        except StopIteration:
            raise ValueError(self._fault(fault)) from None

    def _end(self, steps: Steps | None, token: CleanupToken | None) -> None:
        __tracebackhide__ = True
        if steps is None:
            return
        try:
            steps.send(token)
        except StopIteration:
            return
        raise ValueError(self._fault("has yielded a third time"))

    def _fault(self, what: str) -> str:
        return (
            f"{self._made.name} {what}. A shared fixture that yields MUST yield exactly twice: "
            "data = yield, to be given the value or told to make it, and token = yield data"
        )
