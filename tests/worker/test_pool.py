"""The threads of a worker: each job is run, and heard of."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest

from pytest_braid.worker.pool import Job, Pool


def run_all(pool: Pool, count: int) -> list[int]:
    """Give out jobs, and wait for their ends."""
    bell = select.poll()
    bell.register(pool.bell, select.POLLIN)
    ran: list[int] = []
    for test in range(count):
        item: Any = None
        pool.start(Job(test, item, lambda test=test: ran.append(test)))  # type: ignore[misc]
    while pool.running:
        bell.poll()
        pool.hush()
        while pool.take_over() is not None:
            pass
    pool.close()
    return ran


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


def test_without_any_thread_it_is_an_error(few_threads: list[str]) -> None:
    assert not few_threads
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run_all(Pool(5), 1)
