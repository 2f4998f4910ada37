"""The threads of a worker: each job is run, and heard of."""

from __future__ import annotations

import select
import threading
from typing import Any

import pytest

from pytest_braid.worker.pool import Job, Over, Pool


class Jobs:
    """Jobs that note that they were run, and by which thread."""

    def __init__(self, size: int) -> None:
        self.pool = Pool(size, self.go_on)
        self.waiting: list[int] = []
        """What threads are to run next, by themselves."""
        self.ran: list[int] = []
        self.threads: set[int] = set()
        self.errors: list[BaseException | None] = []
        self._one_at_a_time = threading.Lock()

    def begin(self, test: int) -> Job:
        item: Any = None
        return Job(test, item, self.pool.begin(test), lambda: self.run(test))

    def run(self, test: int) -> None:
        self.threads.add(threading.get_ident())
        self.ran.append(test)
        if test < 0:
            raise SystemExit(test)

    def go_on(self, over: Over) -> Job | None:
        with self._one_at_a_time:
            self.errors.append(over.error)
            self.pool.end(over.test)
            job = self.begin(self.waiting.pop(0)) if self.waiting else None
        if job is None:
            self.pool.ring()
        return job

    def run_all(self, *tests: int) -> list[int]:
        """Have so many run at once, and wait until all are over."""
        bell = select.poll()
        bell.register(self.pool.bell, select.POLLIN)
        with self._one_at_a_time:
            for job in [*map(self.begin, tests)]:
                self.pool.start(job)
        while self.pool.running:
            bell.poll()
            self.pool.hush()
        self.pool.close()
        return self.ran


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


def test_a_thread_goes_on_by_itself() -> None:
    jobs = Jobs(1)
    jobs.waiting = [1, 2, 3]
    assert jobs.run_all(0) == [0, 1, 2, 3]
    assert len(jobs.threads) == 1


def test_what_ends_a_job_ends_no_thread() -> None:
    jobs = Jobs(1)
    jobs.waiting = [2]
    assert jobs.run_all(-1) == [-1, 2]
    assert [type(error) for error in jobs.errors] == [SystemExit, type(None)]


def test_jobs_wait_for_the_threads_that_could_be_started(few_threads: list[str]) -> None:
    few_threads[:] = ["one", "two"]
    assert sorted(Jobs(5).run_all(0, 1, 2, 3, 4)) == [0, 1, 2, 3, 4]


def test_a_job_that_waits_for_a_thread_is_not_overtaken_by_all_others(
    few_threads: list[str],
) -> None:
    few_threads[:] = ["one"]
    jobs = Jobs(2)
    jobs.waiting = [2, 3, 4]
    assert jobs.run_all(0, 1) == [0, 1, 2, 3, 4]


class Closing(Jobs):
    """Whose pool is closed when a thread has found what it is to run next."""

    def go_on(self, over: Over) -> Job | None:
        job = super().go_on(over)
        self.pool.close()
        return job

    def run_until_closed(self, *tests: int) -> list[int]:
        others = {*threading.enumerate()}
        with self._one_at_a_time:
            for job in [*map(self.begin, tests)]:
                self.pool.start(job)
            threads = {*threading.enumerate()} - others
        for thread in threads:
            thread.join(60)
        return self.ran


def test_a_job_that_a_thread_has_when_the_pool_is_closed_is_run() -> None:
    jobs = Closing(1)
    jobs.waiting = [1, 2]
    assert jobs.run_until_closed(0) == [0, 1, 2]


def test_so_is_one_that_comes_behind_the_end_for_another_waits(few_threads: list[str]) -> None:
    few_threads[:] = ["one"]
    jobs = Closing(2)
    jobs.waiting = [2, 3]
    assert sorted(jobs.run_until_closed(0, 1)) == [0, 1, 2, 3]


def test_each_thread_ends_when_the_pool_is_closed() -> None:
    others = {*threading.enumerate()}
    jobs = Closing(3)
    jobs.waiting = [3, 4, 5, 6]
    assert sorted(jobs.run_until_closed(0, 1, 2)) == [*range(7)]
    assert {*threading.enumerate()} == others


def test_without_any_thread_it_is_an_error(few_threads: list[str]) -> None:
    assert not few_threads
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Jobs(5).run_all(0)
