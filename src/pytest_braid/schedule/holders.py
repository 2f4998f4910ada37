"""Values that the processes of a run have in common: who makes one, and who is its last user."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

import msgspec

from pytest_braid.model import events as e
from pytest_braid.model import holders as h
from pytest_braid.model.board import Answer
from pytest_braid.schedule.board import Reply


class _Value(msgspec.Struct):
    """``maker`` is the asker that makes it, ``ender`` the one that is the last, by the question of
    this number."""

    fixture: str
    ends: bool
    maker: int | None = None
    waiting: deque[tuple[int, int]] = msgspec.field(default_factory=deque)
    """Who waits for it, by the question of this number."""
    holders: dict[int, int] = msgspec.field(default_factory=dict)
    """Who has it, since the question of this number."""
    is_made: bool = False
    failure: bytes = b""
    crash: str = ""
    """How its maker has died, in words."""
    leaving: set[int] = msgspec.field(default_factory=set)
    """Who has left it, and is not through with that."""
    ender: tuple[int, int] | None = None
    is_told: bool = False
    """Whether the last one knows that it is: the others are through."""
    settler: int | None = None
    """The asker that is to have it once more."""
    has_ended: bool = False
    """Whether there was one of this name that is no more."""


class Loss(NamedTuple):
    """A value at whose end nobody has done what was to be done; ``why``, in words."""

    fixture: str
    value: str
    why: str


class Holders:
    """Who makes a value, who has it, and who is the last.

    The first who asks for a value makes it; the others wait, and are told if it could not be made.
    It is made once. The last is who leaves a fixture when nobody else has a value of it, and no
    test that is yet to run may ask for one. What then is left of its values, because others had
    left them before, or their last user has died, falls to that process when it has run all its
    tests, or to any other, if that is gone. Two workers, tests 0 and 1 that use a fixture::

        0 asks for it      first: it makes the value
        1 asks for it      waits, and has it when 0 says that it is made
        0 leaves           1 has it still
        1 leaves           last, which it is told when 0 is through with what it does at its end

    ``uses`` are the fixtures that each test may ask for (``ANY`` for all there are), as far as that
    is known before it runs.
    """

    def __init__(self, uses: Sequence[Sequence[str]] = (), copies: int = 1) -> None:
        """Begin with all tests before us, so many ``copies`` of them."""
        self._uses = uses if any(uses) else ()
        self._values: dict[str, _Value] = {}
        self._open: Counter[str] = Counter()
        """How many tests may yet ask for a fixture."""
        self._is_closed: set[int] = set()
        """Tests that ask for nothing any more."""
        self._is_stopping = False
        """Whether what does not run yet never will."""
        self._running: dict[int, set[int]] = {}
        """The tests that run, by asker."""
        self._last: dict[str, int] = {}
        """The last asker to leave a fixture."""
        self._gone: set[int] = set()
        self._lost: list[Loss] = []
        for used in self._uses:
            self._open.update(dict.fromkeys(used, copies))

    # --- the tests ----------------------------------------------------------------------------

    def event(self, event: e.SchedulerEvent) -> None:
        """Take in what becomes of the tests."""
        if not self._uses:
            return
        match event:
            case e.Started():
                self._running.setdefault(event.worker, set()).add(event.test)
                self._reopen(event.test)
            case e.Finished():
                self._running.get(event.worker, set()).discard(event.test)
                self._close(event.test)
            case e.WorkerDied(running=int(test)):
                self._close(test)
            case e.StopRequested():
                self._is_stopping = True
            case _:
                pass

    def _of(self, test: int) -> Sequence[str]:
        return self._uses[test % len(self._uses)]

    def _close(self, test: int) -> None:
        if test not in self._is_closed:
            self._is_closed.add(test)
            self._open.subtract(self._of(test))

    def _reopen(self, test: int) -> None:
        """It runs once more."""
        if test in self._is_closed:
            self._is_closed.remove(test)
            self._open.update(self._of(test))

    def _may_be_asked_for(self, fixture: str) -> bool:
        if self._is_stopping:
            running = {test for tests in self._running.values() for test in tests}
            return any({fixture, h.ANY} & {*self._of(test)} for test in running - self._is_closed)
        return self._open[fixture] + self._open[h.ANY] > 0

    # --- the values ---------------------------------------------------------------------------

    def handle(self, asker: int, asked: h.Question) -> list[Reply]:
        """The answers that follow: one to the asker, unless it must wait; others' perhaps."""
        match asked:
            case h.Enter():
                return self._enter(asker, asked)
            case h.Made():
                return [Reply(asker, Answer(asked.number)), *self._made(asker, asked)]
            case h.Depart():
                return self._depart(asker, asked)
            case h.Ended():
                return [Reply(asker, Answer(asked.number)), *self._ended(asker, asked.value)]
            case h.Settle():
                values = tuple(
                    (name.encode(), self._values[name].fixture.encode())
                    for name in self._to_settle(asker)
                )
                return [Reply(asker, Answer(asked.number, items=values))]
            case _:
                assert_never(asked)

    def _enter(self, asker: int, asked: h.Enter) -> list[Reply]:
        value = self._values.setdefault(asked.value, _Value(asked.fixture, asked.ends))
        value.waiting.append((asker, asked.number))
        return [*self._not_last(value), *self._admit(value)]

    def _not_last(self, value: _Value) -> Iterator[Reply]:
        """Who waits to be told that it is the last is so no more when another asks meanwhile, one
        that it waits for perhaps."""
        if value.ender is not None and not value.is_told:
            (asker, number), value.ender, value.is_made = value.ender, None, True
            value.leaving.add(asker)
            yield Reply(asker, Answer(number, ok=False))

    def _admit(self, value: _Value) -> Iterator[Reply]:
        """Those who wait, as far as they need not wait any more."""
        while value.waiting and value.maker is None and value.ender is None:
            asker, number = value.waiting.popleft()
            if value.failure or value.crash:
                items = ((b"failure", value.failure),) if value.failure else ()
                yield Reply(asker, Answer(number, False, False, note=value.crash, items=items))
            elif value.is_made:
                value.holders[asker] = number
                yield Reply(asker, Answer(number, ok=False))
            else:
                value.maker = asker
                value.holders[asker] = number
                yield Reply(asker, Answer(number, note="again" if value.has_ended else ""))

    def _made(self, asker: int, asked: h.Made) -> Iterator[Reply]:
        value = self._values[asked.value]
        value.maker = None
        value.is_made = not asked.failure
        if asked.failure:
            value.failure = asked.failure
            del value.holders[asker]
        return self._admit(value)

    def _depart(self, asker: int, asked: h.Depart) -> list[Reply]:
        value = self._values[asked.value]
        value.holders.pop(asker, None)
        self._last[value.fixture] = asker
        if asked.is_end:
            for test in self._running.get(asker, ()):
                self._close(test)
        if not asked.able or not value.is_made or self._is_used(value.fixture):
            if asked.able:
                value.leaving.add(asker)
            return [Reply(asker, Answer(asked.number, ok=False))]
        value.ender, value.is_told, value.is_made = (asker, asked.number), False, False
        return [*self._tell_last(value.fixture)]

    def _of_fixture(self, fixture: str) -> list[_Value]:
        return [value for value in self._values.values() if value.fixture == fixture]

    def _tell_last(self, fixture: str) -> Iterator[Reply]:
        """Those who are the last, once all others are through."""
        values = self._of_fixture(fixture)
        leaving = {asker for value in values for asker in value.leaving}
        for value in values:
            if value.ender is not None and not value.is_told and leaving <= {value.ender[0]}:
                value.is_told, value.settler = True, None
                yield Reply(value.ender[0], Answer(value.ender[1]))

    def _is_used(self, fixture: str) -> bool:
        return self._may_be_asked_for(fixture) or any(
            value.holders or value.waiting or value.ender is not None
            for value in self._of_fixture(fixture)
        )

    def _ended(self, asker: int, name: str) -> list[Reply]:
        value = self._values[name]
        value.leaving.discard(asker)
        if value.ender is not None and value.ender[0] == asker:
            value.ender, value.has_ended = None, True
        return [*self._tell_last(value.fixture), *self._admit(value)]

    def _to_settle(self, asker: int) -> list[str]:
        found = [
            name
            for name, value in self._owed()
            if value.settler is None
            and self._last.get(value.fixture, asker) in {asker, *self._gone}
            and not self._is_used(value.fixture)
        ]
        for name in found:
            self._values[name].settler = asker
        return found

    def _owed(self) -> Iterator[tuple[str, _Value]]:
        return (
            (name, value) for name, value in self._values.items() if value.is_made and value.ends
        )

    # --- the askers ---------------------------------------------------------------------------

    def cancel(self, asker: int, number: int) -> list[Reply]:
        """Nobody waits any more for the answer to the question of this number; if it was given, it
        is as if it had not been."""
        for value in self._values.values():
            if (asker, number) in value.waiting:
                value.waiting.remove((asker, number))
            elif value.holders.get(asker) == number:
                del value.holders[asker]
                if value.maker == asker:
                    value.maker = None
                    return [*self._admit(value)]
            elif value.ender == (asker, number):
                value.ender, value.is_made = None, True
                return [*self._admit(value)]
        return []

    def gone(self, asker: int, crash: str | None = None) -> list[Reply]:
        """An asker's process has ended; ``crash`` says how, in words, if it was not in order."""
        how = crash or "its process has ended"
        self._gone.add(asker)
        self._running.pop(asker, None)
        replies: list[Reply] = []
        for name, value in self._values.items():
            value.waiting = deque(each for each in value.waiting if each[0] != asker)
            value.holders.pop(asker, None)
            if value.settler == asker and value.is_made:
                self._lose(name, f"nobody could use it once more: {how}")
            value.leaving.discard(asker)
            if value.ender is not None and value.ender[0] == asker:
                value.ender, value.is_made = None, True
                if value.is_told:
                    self._lose(name, f"while it was cleaned up: {how}")
            if value.maker == asker:
                value.maker = None
                value.crash = how
            replies += self._admit(value)
        for fixture in dict.fromkeys(value.fixture for value in self._values.values()):
            replies += self._tell_last(fixture)
        return replies

    def _lose(self, name: str, why: str) -> None:
        value = self._values[name]
        value.is_made, value.has_ended = False, True
        self._lost.append(Loss(value.fixture, name, why))

    def orphans(self) -> list[str]:
        """The values that stand although nobody has them, so that one must have them once more;
        those too that one has for that."""
        return [
            name for name, value in self._owed() if not value.holders or value.settler is not None
        ]

    @property
    def owes(self) -> bool:
        """Whether there are values at whose end nobody has done what is to be done."""
        return any(True for _ in self._owed())

    def losses(self) -> list[Loss]:
        """At the end of the run: the values that nobody has cleaned up."""
        for name, value in self._values.items():
            if value.ender is not None and value.is_told:
                self._lose(name, "the run has ended while it was cleaned up")
            elif value.ender is not None or (value.is_made and value.ends):
                self._lose(name, "the run has ended before")
        return self._lost
