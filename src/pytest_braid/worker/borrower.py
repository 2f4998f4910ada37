"""The values of shared fixtures in a worker: asked for, read, and returned."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_braid.fixtures.shared import load
from pytest_braid.model.shares import Failure, Lent
from pytest_braid.seam import phases, reports
from pytest_braid.seam import sharing as seam
from pytest_braid.wire.values import unpack
from pytest_braid.worker.clerk import Clerk
from pytest_braid.worker.sharing import SharedDefinition, Sharing

_FAILURE = "pytest_braid_failure"
"""Attribute of an exception that was raised in the fixture host: what came of it there."""


class SharedFixtureError(Exception):
    """What has happened to a fixture that the whole run shares, in words."""


class Borrower:
    """Registered as ``braid-borrower``: what the functions of shared fixtures come to in a worker,
    and the hook that tells of their failures as the fixture host saw them."""

    def __init__(self, session: pytest.Session, sharing: Sharing, clerk: Clerk) -> None:
        self._session = session
        self._sharing = sharing
        self._clerk = clerk
        self._numbers: dict[int, int] = {}

    @contextmanager
    def borrowed(self, shared: SharedDefinition, request: Any) -> Iterator[object]:
        """The value of a shared fixture, until nobody in this process needs it."""
        __tracebackhide__ = True
        item = seam.item_of(request)
        share = self._sharing.share_of(shared.definition, item)
        loan = self._clerk.borrow(self._number(item), share)
        phases.replay(_records(loan.answer), loan.answer.output.out, loan.answer.output.err)
        if loan.answer.failure is not None:
            raise _error(loan.answer.failure)
        assert loan.file is not None
        try:
            yield _read(shared, loan.file)
        finally:
            self._give_back(loan.number)

    def _give_back(self, borrowed: int) -> None:
        __tracebackhide__ = True
        answer = self._clerk.give_back(borrowed).answer
        phases.replay(_records(answer), answer.output.out, answer.output.err)
        if answer.failure is not None:
            raise _error(answer.failure)

    def _number(self, item: pytest.Item) -> int:
        if not self._numbers:
            self._numbers = {id(each): n for n, each in enumerate(self._session.items)}
        return self._numbers.get(id(item), 0)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        error = None if call.excinfo is None else call.excinfo.value
        failure: Failure | None = getattr(error, _FAILURE, None)
        if failure is None or not failure.report:
            return report
        if call.when == "call":  # asked for by name: the test's own frames say where
            report.sections.append(("Shared fixture, in the fixture host", failure.text))
            return report
        if isinstance(error, pytest.skip.Exception):
            return report  # each at its own place
        data = unpack(failure.report)
        hook: Any = item.config.hook
        told = hook.pytest_report_from_serializable(config=item.config, data=dict(data))
        reports.complete(told, data, failure.shown)
        report.longrepr = told.longrepr
        return report


def _records(answer: Lent) -> list[dict[str, Any]]:
    return [unpack(record) for record in answer.output.records]


def _read(shared: SharedDefinition, file: int) -> object:
    """The value, from a file in memory that is read where it lies."""
    __tracebackhide__ = True
    try:
        size = os.fstat(file).st_size
        if not size:
            return load(shared.name, shared.serializer, memoryview(b""))
        with (
            mmap.mmap(file, size, prot=mmap.PROT_READ) as memory,
            memoryview(memory) as data,
        ):
            return load(shared.name, shared.serializer, data)
    finally:
        os.close(file)


def _error(failure: Failure) -> BaseException:
    error: BaseException | None = None
    if failure.error:
        with contextlib.suppress(Exception):  # of a class that only the host has
            error = pickle.loads(failure.error)  # noqa: S301 -- of this run's own process
    if not isinstance(error, BaseException):
        error = SharedFixtureError(failure.text)
    with contextlib.suppress(AttributeError):
        setattr(error, _FAILURE, failure)
    return error
