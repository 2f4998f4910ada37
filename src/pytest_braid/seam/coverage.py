"""coverage.py under pytest-cov: what a worker has measured outlives it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import pytest


class Keeping:
    """In workers: puts what a test has covered into the data file as soon as the test is over.

    Otherwise it would be written at the end of the session, which a worker that crashes does not
    see; and all that its earlier tests have covered would be missing. pytest-cov combines the files
    of all processes in any case. Most tests cover nothing that is not in the file already, and cost
    a comparison.
    """

    def __init__(self) -> None:
        self._written: dict[str, set[Any]] = {}
        """Lines or branches by file."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        result = yield
        self._write()
        return result

    def _write(self) -> None:
        """As ``Coverage.switch_context`` does between tests, where contexts are asked for. That one
        warns where they are not supported, and ``get_data`` looks at all files of the project."""
        import coverage

        collector: Any = getattr(coverage.Coverage.current(), "_collector", None)
        measured: dict[str, Any] = dict(getattr(collector, "data", ()))
        news = [
            (file, found)
            for file, found in measured.items()
            if not found <= self._written.get(file, set())
        ]
        if news:
            for file, found in news:
                self._written.setdefault(file, set()).update(found)
            collector.flush_data()  # and empties what is measured


def tell_greenlets_apart() -> None:
    """Let coverage, if it measures, keep a stack of frames for each greenlet. It does so by itself
    where its option ``concurrency`` names greenlets, and goes astray otherwise: a greenlet that
    goes on is in other files than the one that it took over from.

    Where no tracer has such stacks (``sys.monitoring``), none is needed.
    """
    coverage = sys.modules.get("coverage")
    current = None if coverage is None else coverage.Coverage.current()
    collector: Any = getattr(current, "_collector", None)
    if probe_tracers(collector) is not None:
        return
    from greenlet import getcurrent

    collector.concur_id_func = getcurrent
    for tracer in collector.tracers:
        if hasattr(tracer, _STACKS):
            setattr(tracer, _STACKS, getcurrent)


_STACKS = "concur_id_func"


def probe_tracers(collector: Any) -> str | None:
    """Why nothing is done about greenlets, if so."""
    if collector is None:
        return "coverage does not measure"
    if not hasattr(collector, _STACKS) or not isinstance(getattr(collector, "tracers", None), list):
        return f"coverage's collector has no {_STACKS} and list of tracers"
    return "concurrency names greenlets already" if collector.concur_id_func else None
