"""What a worker gets whose time is up: which signals, and whether its children get them too."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from pytest_braid.control.watch import Limits, Watch
from pytest_braid.model.limits import Limit, seconds_of
from pytest_braid.seam.output import STACKS
from pytest_braid.wire import messages as m

PLAIN = m.Test("test_a.py::test_1", ("test_a.py", 0, "test_1"))
MARKED = m.Test("test_a.py::test_1", ("test_a.py", 0, "test_1"), timeout=2.0)
FREE = m.Test("test_a.py::test_1", ("test_a.py", 0, "test_1"), timeout=0.0)


class FakeZygote:
    def __init__(self) -> None:
        self.sent: list[m.Signal] = []

    def send(self, message: m.Signal) -> None:
        self.sent.append(message)


class FakeWorker:
    number = 7
    culprit: tuple[Limit, int | None] | None = None
    is_condemned = False

    def condemn(self, limit: Limit, test: int | None) -> None:
        self.is_condemned = True
        self.culprit = limit, test


def watch_with(seconds: float | None) -> tuple[Watch, Any, Any]:
    zygote: Any = FakeZygote()
    common = None if seconds is None else Limit(seconds, "--test-timeout")
    return Watch(zygote, Limits(common, is_second=False), Path()), FakeWorker(), zygote


def test_without_a_limit_the_loop_waits_for_messages_alone() -> None:
    watch, worker, zygote = watch_with(None)
    watch.begun(worker, 4, PLAIN, 10.0)
    watch.asked(worker, 11.0)
    watch.dismissed(worker)
    assert watch.wait(0.0) is None
    watch.look(1e9, ())
    assert not zygote.sent


@pytest.mark.parametrize(
    ("test", "seconds", "wait"),
    [
        (PLAIN, 3.0, 3000),
        (PLAIN, 0.0001, 1),
        (MARKED, 3.0, 2000),
        (MARKED, None, 2000),
        (FREE, 3.0, None),
    ],
)
def test_the_loop_wakes_up_at_the_deadline(
    test: m.Test, seconds: float | None, wait: int | None
) -> None:
    watch, worker, _ = watch_with(seconds)
    watch.begun(worker, 4, test, 10.0)
    assert watch.wait(10.0) == wait
    assert watch.wait(20.0) == (None if wait is None else 0)


def test_the_steps_of_an_end() -> None:
    watch, worker, zygote = watch_with(3.0)
    watch.begun(worker, 4, PLAIN, 10.0)
    watch.look(12.9, ())
    assert (worker.is_condemned, zygote.sent) == (False, [])
    watch.look(13.0, ())
    assert worker.is_condemned
    for at in (14.0, 15.0, 16.0, 17.0):
        watch.look(at, ())
    assert zygote.sent == [
        m.Signal(7, STACKS, group=False),
        m.Signal(7, signal.SIGCONT, group=False),
        m.Signal(7, signal.SIGTERM, group=True),
        m.Signal(7, signal.SIGKILL, group=True),
    ]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.5, 0.5), ("2", 2.0), (0, 0.0), ("x", None), (None, None), (-1, None)],
)
def test_seconds(value: object, seconds: float | None) -> None:
    assert seconds_of(value) == seconds
    assert seconds_of("nan") is seconds_of(float("inf")) is None


def test_a_limit_is_told_with_its_source() -> None:
    assert str(Limit(3.0, "--test-timeout")) == "3 s (--test-timeout)"
    assert str(Limit(0.25, "its mark timeout")) == "0.25 s (its mark timeout)"


def test_of_several_tests_the_one_ends_its_worker_whose_time_is_up() -> None:
    watch, worker, zygote = watch_with(3.0)
    watch.begun(worker, 4, PLAIN, 10.0)
    watch.begun(worker, 5, MARKED, 10.5)
    watch.begun(worker, 6, FREE, 10.5)
    watch.look(12.5, ())
    assert worker.culprit == (Limit(2.0, "its mark timeout"), 5)
    sent = len(zygote.sent)
    watch.look(13.0, ())
    assert len(zygote.sent) == sent
    assert worker.culprit[1] == 5


def test_a_test_that_is_over_leaves_the_clocks_of_others_alone() -> None:
    watch, worker, _ = watch_with(3.0)
    watch.begun(worker, 4, PLAIN, 10.0)
    watch.begun(worker, 5, PLAIN, 11.0)
    watch.over(worker, 4)
    assert watch.wait(11.0) == 3000
    watch.gone(worker)
    assert watch.wait(11.0) is None


def locked(watch: Watch, worker: Any, *, waits: list[tuple[str, str]], at: float) -> None:
    found = [((worker, a), (worker, b)) for a, b in waits]
    watch.keep_still(found, at)


def running(watch: Watch, worker: Any, *names: str) -> None:
    for number, name in enumerate(names):
        watch.begun(worker, number, m.Test(name, ("test_a.py", 0, name)), 10.0)


def test_the_clock_stands_still_while_a_running_test_has_the_lock() -> None:
    watch, worker, zygote = watch_with(3.0)
    running(watch, worker, "a", "b", "c")
    watch.over(worker, 1)
    locked(watch, worker, waits=[("a", "c")], at=11.0)
    watch.over(worker, 2)  # it has left the lock to somebody
    locked(watch, worker, waits=[], at=15.0)
    watch.look(16.9, ())
    assert not zygote.sent
    watch.look(17.0, ())
    assert worker.culprit == (Limit(3.0, "--test-timeout"), 0)


@pytest.mark.parametrize(
    "waits",
    [
        [("a", "a")],
        [("a", "b"), ("b", "a")],
        [("a", "b"), ("b", "c"), ("c", "b")],
        [("a", "not running")],
        [("a", "b"), ("b", "not running")],
    ],
)
def test_the_clock_runs_where_nobody_would_give_the_lock_back(
    waits: list[tuple[str, str]],
) -> None:
    watch, worker, _ = watch_with(3.0)
    running(watch, worker, "a", "b", "c")
    locked(watch, worker, waits=waits, at=11.0)
    watch.look(13.0, ())
    assert worker.is_condemned


def test_the_clock_stands_still_while_the_last_of_a_row_runs() -> None:
    watch, worker, zygote = watch_with(3.0)
    for name in ("a", "b"):
        watch.begun(worker, ord(name), m.Test(name, ("test_a.py", 0, name)), 10.0)
    watch.begun(worker, 0, m.Test("c", ("test_a.py", 0, "c"), timeout=0.0), 10.0)
    locked(watch, worker, waits=[("a", "b"), ("b", "c")], at=11.0)
    watch.look(100.0, ())
    assert not zygote.sent


def test_without_a_node_id_it_is_the_only_test_of_the_worker() -> None:
    watch, worker, zygote = watch_with(3.0)
    other: Any = FakeWorker()
    running(watch, worker, "a")
    watch.begun(other, 5, FREE, 10.0)
    watch.keep_still([((worker, ""), (other, ""))], 11.0)
    watch.look(100.0, ())
    assert not zygote.sent
