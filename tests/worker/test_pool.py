"""The threads of a worker: each job is run, and heard of."""

from __future__ import annotations

import select
import threading
from typing import Any, cast

import pytest

from pytest_braid.worker import pool as pool_module
from pytest_braid.worker.pool import Job, Pool


def run_all(pool: Pool, count: int) -> list[int]:
    """Give out jobs, and wait for their ends."""
    ran: list[int] = []
    for test in range(count):
        item: Any = None
        pool.start(Job(test, item, lambda test=test: ran.append(test)))  # type: ignore[misc]
    take_all(pool)
    pool.close()
    return ran


def take_all(pool: Pool) -> set[int]:
    """Wait until all tests are over."""
    bell = select.poll()
    bell.register(pool.bell, select.POLLIN)
    over: set[int] = set()
    while pool.running:
        bell.poll()
        pool.hush()
        while (one := pool.take_over()) is not None:
            over.add(one.test)
    return over


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system has room for so many more as there are names in this list."""
    names: list[str] = []
    start = threading.Thread.start

    def limited(self: Any) -> None:
        if not names:
            raise RuntimeError("can't start new thread")
        names.pop()
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return names


def test_jobs_wait_for_the_threads_that_could_be_started(few_threads: list[str]) -> None:
    few_threads[:] = ["one", "two"]
    assert sorted(run_all(Pool(5), 5)) == [0, 1, 2, 3, 4]


def test_a_job_is_due_when_none_has_begun_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "has_global_lock", lambda: True)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pool, item, goes_on = Pool(3), cast("Any", None), threading.Event()
    pool.start(Job(0, item, goes_on.wait))
    found = [pool.is_due]
    now[0] += pool.pause()
    found.append(pool.is_due)
    pool.start(Job(1, item, goes_on.wait))
    found.append(pool.is_due)
    goes_on.set()
    assert take_all(pool) == {0, 1}
    found.append(pool.is_due)
    assert found == [False, True, False, True]
    pool.close()


def test_without_any_thread_it_is_an_error(few_threads: list[str]) -> None:
    assert not few_threads
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run_all(Pool(5), 1)
