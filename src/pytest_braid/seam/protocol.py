"""pytest's protocol of one test, without its reports."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_braid.seam.fixtures import TEST_OUTCOME


def first_error(item: pytest.Item) -> BaseException | None:
    """Run a test by the hooks of its phases; returns what the first of them has raised that has
    raised something, a skip included."""
    hook: Any = item.ihook
    errors = [_error(lambda: hook.pytest_runtest_setup(item=item))]
    if errors == [None]:
        errors.append(_error(lambda: hook.pytest_runtest_call(item=item)))
    errors.append(_error(lambda: hook.pytest_runtest_teardown(item=item, nextitem=None)))
    return next(filter(None, errors), None)


def reports(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Run a test; what would be reported of its phases."""
    return runtestprotocol(item, log=False, nextitem=nextitem)


def give_sections(item: Any, other: pytest.Item) -> None:
    """Show what a test has printed and logged with the report of another."""
    for when, key, content in item._report_sections:
        other.add_report_section("call", f"{key} ({item.name}, {when})", content)


def _error(call: Any) -> BaseException | None:
    try:
        call()
    except TEST_OUTCOME as error:
        return error.with_traceback(_own(error.__traceback__))
    return None


def _own(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame on that is not pytest's, or a hook's call."""
    found = traceback
    while found is not None and _is_frame_of_pytest(found):
        found = found.tb_next
    return found or traceback


def _is_frame_of_pytest(traceback: TracebackType) -> bool:
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in ("_pytest", "pluggy", "pytest_braid")
