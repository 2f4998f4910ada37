"""Shared fixtures whose last user has died: another process does what it has left undone."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from pytest_braid.compat.shared_values import Shared, asker_of, known
from pytest_braid.fixtures import alone
from pytest_braid.model import holders as h


class Settling:
    """Registered in workers. When a worker has run its last test, it enters the fixtures that the
    controller names, with the values that are stored, and leaves them as the last."""

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        answer = yield
        asker = asker_of(session.config) if _has_clerk(session.config) else None
        if asker is not None:
            for value, name in asker.ask(h.Settle).items:
                self._settle(session, name.decode(), value.decode())
        return answer

    def _settle(self, session: pytest.Session, name: str, value: str) -> None:
        """What fails is told of a test that uses the fixture; if there is none, the controller
        finds that nobody has left as the last."""
        found = _user(session, known(name), value)
        if found is None:
            return
        item, definition = found
        call = pytest.CallInfo.from_call(
            partial(alone.use, item, definition.argname), "teardown", reraise=(KeyboardInterrupt,)
        )
        if call.excinfo is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)


def _has_clerk(config: Any) -> bool:
    """The process that has collected, and had nothing to fork, has none."""
    return bool(config.pluginmanager.hasplugin("braid-clerk"))


def _user(
    session: pytest.Session, made: Shared | None, value: str
) -> tuple[pytest.Item, Any] | None:
    """A test that asks for this value, or could."""
    if made is None:
        return None
    for item, definition in alone.users(session, made.asked_as, partial(_is_of, made)):
        callspec: Any = getattr(item, "callspec", None)
        of_test = callspec.params if callspec is not None else {}
        if definition.argname in of_test:
            name = definition.argname
            asked = made.value(callspec.indices.get(name, 0), of_test[name])
        elif made.params:
            continue
        else:
            asked = made.value(0, None)
        if asked == value:
            return item, definition
    return None


def _is_of(made: Shared, function: Any) -> bool:
    mark: h.Mark | None = getattr(function, h.ATTRIBUTE, None)
    return mark is not None and mark.fixture == made.name
