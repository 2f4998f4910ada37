"""The one timer of the interpreter, for tests that overlap."""

from __future__ import annotations

import faulthandler
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.seam import dump_timer


class Running:
    """Those that run, the clock they run by, and what the real timer is set to."""

    def __init__(self) -> None:
        self.test: dict[str, Any] | None = None
        self.now = 0.0
        self.timer: float | None = None

    def values(self) -> dict[str, Any] | None:
        return self.test

    def clock(self) -> float:
        return self.now

    def set(self, timeout: float, **_: Any) -> None:
        self.timer = self.now + timeout

    def cancel(self) -> None:
        self.timer = None


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    made = Running()
    monkeypatch.setattr(faulthandler, "dump_traceback_later", made.set)
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", made.cancel)
    return made


def config(timeout: str) -> Any:
    manager = SimpleNamespace(has_plugin=lambda _: True)
    return SimpleNamespace(pluginmanager=manager, getini={"faulthandler_timeout": timeout}.get)


def test_the_timer_is_set_for_the_first_that_is_due(running: Running) -> None:
    one: dict[str, Any] = {}
    two: dict[str, Any] = {}
    with dump_timer.isolated(config("10"), running.values, running.clock):
        running.test = one
        faulthandler.dump_traceback_later(10)
        running.test, running.now = two, 4
        faulthandler.dump_traceback_later(10)
        assert running.timer == 10
        running.test = one
        faulthandler.cancel_dump_traceback_later()
        assert running.timer == 14
        running.test = two
        faulthandler.cancel_dump_traceback_later()
        assert running.timer is None


def test_one_that_hangs_does_not_take_the_timer_from_others(running: Running) -> None:
    one: dict[str, Any] = {}
    two: dict[str, Any] = {}
    with dump_timer.isolated(config("10"), running.values, running.clock):
        running.test = one
        faulthandler.dump_traceback_later(10)
        running.test, running.now = two, 12
        faulthandler.dump_traceback_later(10)
        assert running.timer == 22


def test_without_an_owner_the_timer_is_the_process_s(running: Running) -> None:
    with dump_timer.isolated(config("10"), running.values, running.clock):
        faulthandler.dump_traceback_later(3)
        assert running.timer == 3
        faulthandler.cancel_dump_traceback_later()
        assert running.timer is None


@pytest.mark.parametrize("timeout", ["", "0", "10"])
def test_everything_is_as_it_was(running: Running, timeout: str) -> None:
    before = faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later
    with dump_timer.isolated(config(timeout), running.values, running.clock):
        assert (faulthandler.dump_traceback_later is before[0]) is (timeout != "10")
    assert before == (faulthandler.dump_traceback_later, faulthandler.cancel_dump_traceback_later)
