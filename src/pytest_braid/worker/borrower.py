"""The values of shared fixtures in a worker: asked for, read, and returned."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

from pytest_braid.fixtures.errors import load_error
from pytest_braid.fixtures.shared import load
from pytest_braid.model.shares import Failure, Output
from pytest_braid.seam import phases, reports
from pytest_braid.seam import sharing as seam
from pytest_braid.wire.values import unpack
from pytest_braid.worker.clerk import Clerk
from pytest_braid.worker.sharing import SharedDefinition, Sharing

_FAILURE = "pytest_braid_failure"
"""Attribute of an exception that was raised in the fixture host: what came of it there."""


class SharedFixtureError(Exception):
    """What has happened to a fixture that the whole run shares, in words."""


class Borrowed(NamedTuple):
    """A value, and the number of the question that it was the answer to."""

    number: int
    value: object


class Borrower:
    """Registered as ``braid-borrower``: what the functions of shared fixtures come to in a worker,
    and the hook that tells of their failures as the fixture host saw them."""

    def __init__(self, session: pytest.Session, sharing: Sharing, clerk: Clerk) -> None:
        self._session = session
        self._sharing = sharing
        self._clerk = clerk
        self._numbers: dict[int, int] = {}

    def borrow(self, shared: SharedDefinition, request: Any) -> Borrowed:
        """The value of a shared fixture, which is to be given back."""
        __tracebackhide__ = True
        item = seam.item_of(request)
        share = self._sharing.share_of(shared.definition, item)
        loan = self._clerk.borrow(self._number(item), share)
        _replay(loan.answer.output)
        if loan.answer.failure is not None:
            raise _error(loan.answer.failure)
        assert loan.file is not None
        try:
            return Borrowed(loan.number, _read(shared, loan.file))
        except BaseException:
            self._clerk.give_back(loan.number)
            raise

    def give_back(self, borrowed: Borrowed) -> None:
        """Nobody in this process needs it any more."""
        __tracebackhide__ = True
        answer = self._clerk.give_back(borrowed.number).answer
        _replay(answer.output)
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


def _replay(output: Output) -> None:
    phases.replay([unpack(record) for record in output.records], output.out, output.err)


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
    error = load_error(failure.error) or SharedFixtureError(failure.text)
    with contextlib.suppress(AttributeError):
        setattr(error, _FAILURE, failure)
    return error
