"""What workers say, as pytest's hooks in the controller.

So the terminal, junit files, ``--lf``, ``-x`` and every reporter of a third party work as they do
in a serial run: they hear the same hooks with the same reports.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from pytest_braid.control.foreign import Sched
from pytest_braid.control.node import Node
from pytest_braid.model.shares import Failure
from pytest_braid.seam import junit, reports
from pytest_braid.seam.session import report_identity
from pytest_braid.wire import messages as m
from pytest_braid.wire.values import unpack


class StandIn(pytest.Item):
    """A collected test in the controller, which has no test modules: name, node id, location."""

    def __init__(self, *, test: m.Test, **rest: Any) -> None:
        super().__init__(**rest)
        self._test = test

    def runtest(self) -> None:
        raise NotImplementedError(f"{self.nodeid} runs in a worker")

    @property
    def location(self) -> tuple[str, int | None, str]:
        return self._test.location


class Items(Sequence[pytest.Item]):
    """``session.items`` of the controller: stand-ins, made when someone looks at them."""

    def __init__(self, session: pytest.Session, tests: Sequence[m.Test]) -> None:
        self._session = session
        self._tests = tests

    def __len__(self) -> int:
        return len(self._tests)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [stand_in(self._session, test) for test in self._tests[index]]
        return stand_in(self._session, self._tests[index])


def stand_in(session: pytest.Session, test: m.Test) -> pytest.Item:
    item: pytest.Item = StandIn.from_parent(
        session,
        name=test.location[2] or test.nodeid,
        nodeid=test.nodeid,
        path=session.config.rootpath / test.location[0],
        test=test,
    )
    return item


class Replay:
    """Calls the reporting hooks. ``tests`` is the collection; numbers refer to it, or, from its
    length on, to further copies of it (``--dist each``)."""

    def __init__(self, config: pytest.Config, tests: Sequence[m.Test]) -> None:
        self._config = config
        self._hook = config.hook
        self._tests = tests
        self._plain: dict[int, tuple[Any, dict[str, int]]] = {}
        self._latest: dict[int, pytest.TestReport] = {}
        """Of tests that use shared fixtures: the latest report."""
        self.has_shares = any(test.shares or test.may_ask for test in tests)
        """Whether a test uses fixtures that the whole run shares, or could ask for one."""
        self._sched = Sched(config)
        self._properties: list[tuple[junit.Place, junit.Property]] = []

    def _test(self, number: int) -> m.Test:
        return self._tests[number % len(self._tests)]

    def begun(self, test: int) -> None:
        spec = self._test(test)
        self._hook.pytest_runtest_logstart(nodeid=spec.nodeid, location=spec.location)

    def done(self, test: int) -> None:
        spec = self._test(test)
        self._plain.pop(test, None)
        self._hook.pytest_runtest_logfinish(nodeid=spec.nodeid, location=spec.location)

    def plain_report(self, node: Node, said: m.PlainReport) -> pytest.TestReport:
        """Rebuild a report without pytest's generic path, and report it."""
        spec = self._tests[said.test % len(self._tests)]  # as _test, for each report of a run
        if said.keywords is not None:
            identity, keywords = spec.nodeid, said.keywords
        else:
            identity, keywords = self._plain[said.test]
        report = pytest.TestReport(
            identity,
            spec.location,
            dict(keywords),  # type: ignore[arg-type]
            said.outcome,
            said.skip,
            said.when,
            said.sections,
            said.duration,
            said.start,
            said.stop,
        )
        if said.keywords is not None:
            self._plain[said.test] = report_identity(report), keywords
        self._attribute(report, node, said.test)
        if self.has_shares:
            self._keep(said.test, report)
        self._hook.pytest_runtest_logreport(report=report)
        return report

    def full_report(self, node: Node, said: m.Report) -> pytest.TestReport:
        report: pytest.TestReport = self._unpack(said)
        if said.failed_subtests:
            reports.note_failed_subtests(self._config, report, said.failed_subtests)
        report.node = node  # type: ignore[attr-defined]
        self._keep(said.test, report)
        self._hook.pytest_runtest_logreport(report=report)
        return report

    def _keep(self, test: int, report: pytest.TestReport) -> None:
        spec = self._test(test)
        if spec.shares or spec.may_ask:
            self._latest[test] = report

    def noted(self, node: Node, said: m.JunitNoted) -> None:
        count = len(self._tests)
        test = count if said.test is None else said.test % count
        place = junit.Place(test, said.highest % count, said.in_teardown)
        self._properties += [(place, each) for each in said.properties]
        if said.test is not None and said.attributes:
            spec = self._test(said.test)
            report = pytest.TestReport(spec.nodeid, spec.location, {}, "passed", None, "setup")
            self._attribute(report, node, said.test)
            junit.add_attributes(self._config, report, said.attributes)

    def finish(self) -> None:
        """Tell what can only be told when all has been heard: properties of the run in order."""
        junit.add_properties(self._config, self._properties)

    def _unpack(self, said: m.Report | m.CollectReported) -> Any:
        data = unpack(said.packed)
        report = self._hook.pytest_report_from_serializable(config=self._config, data=dict(data))
        reports.complete(report, data, said.shown)
        return report

    def crashed(
        self,
        node: Node,
        test: int,
        why: str,
        sections: list[tuple[str, str]],
        when: Literal["call", "teardown"],
    ) -> bool:
        """Report a test that ended its worker's process: it fails, or its teardown does. Returns
        whether a plugin wants it to run again."""
        nodeid = self._test(test).nodeid
        text = f"worker '{node.gateway.id}' crashed while running '{nodeid}': {why}"
        report = self._failed(node, test, text, sections, when)
        self._keep(test, report)
        self._hook.pytest_handlecrashitem(crashitem=nodeid, report=report, sched=self._sched)
        self._hook.pytest_runtest_logreport(report=report)
        return self._sched.take_pending(nodeid)

    def timed_out(
        self,
        node: Node,
        test: int,
        text: str,
        sections: list[tuple[str, str]],
        *,
        when: Literal["call", "teardown"],
        duration: float,
    ) -> None:
        """Report a test for which its worker was killed: nothing has crashed."""
        report = self._failed(node, test, text, sections, when)
        report.duration = duration
        self._hook.pytest_runtest_logreport(report=report)

    def crashed_after(
        self, node: Node, test: int, why: str, sections: list[tuple[str, str]]
    ) -> None:
        """Report, with the last test of a worker, that its process ended after that test."""
        report = self._failed(node, test, why, sections, "teardown")
        self._hook.pytest_runtest_logreport(report=report)

    def shared_said(self, test: int, sections: list[tuple[str, str]]) -> None:
        """Show what the teardown of a shared fixture has printed with the last test that used it,
        which has been reported."""
        if test in self._latest:
            self._latest[test].sections += sections

    def shared_failed(
        self, node: Node, test: int, failure: Failure, sections: list[tuple[str, str]]
    ) -> None:
        """Report, with the last test that used it, that the teardown of a shared fixture failed."""
        report = self._failed(node, test, failure.text, sections, "teardown")
        if failure.report:
            data = unpack(failure.report)
            hook = self._hook.pytest_report_from_serializable
            told = hook(config=self._config, data=dict(data))
            reports.complete(told, data, failure.shown)
            report.longrepr = told.longrepr
        self._hook.pytest_runtest_logreport(report=report)

    def _failed(
        self,
        node: Node,
        test: int,
        text: str,
        sections: list[tuple[str, str]],
        when: Literal["call", "teardown"],
    ) -> pytest.TestReport:
        spec = self._test(test)
        report = pytest.TestReport(spec.nodeid, spec.location, {}, "failed", text, when, sections)
        self._attribute(report, node, test)
        return report

    def collect_report(
        self, session: pytest.Session, said: m.CollectReported
    ) -> pytest.CollectReport:
        report: pytest.CollectReport = self._unpack(said)
        location = report.location or (report.nodeid, None, report.nodeid)
        report.result = [
            stand_in(session, m.Test(nodeid, (location[0], None, nodeid)))
            for nodeid in said.children
        ]
        self._hook.pytest_collectreport(report=report)
        return report

    def deselected(self, session: pytest.Session, nodeids: Sequence[str]) -> None:
        items = [
            stand_in(session, m.Test(nodeid, (nodeid.partition("::")[0], None, nodeid)))
            for nodeid in nodeids
        ]
        self._hook.pytest_deselected(items=items)

    def warning(self, said: m.Warned) -> None:
        self._hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": warning_of(said),
                "nodeid": said.nodeid,
                "when": said.when,
                "location": said.location,
            }
        )

    def _attribute(self, report: Any, node: Node, test: int) -> None:
        report.node = node
        report.worker_id = node.gateway.id
        report.testrun_uid = node.nodemanager.testrunuid
        report.item_index = test % len(self._tests)


_UNKNOWN = ()
"""An object that ``tracemalloc`` has no trace of."""


def warning_of(said: m.Warned) -> warnings.WarningMessage:
    """The warning, of its own class if this process has it, else of one that looks like it."""
    category = _category(said.bases)
    message = Warning.__new__(category)  # a project's class may ask its constructor for anything
    message.args = (said.text,)
    if str(message) != said.text:
        message = type(category.__name__, (category,), {"__str__": lambda _: said.text})(said.text)
    source = _UNKNOWN if said.has_source else None
    file: Any = said.filename
    line: Any = said.lineno  # neither of which somebody has to know
    return warnings.WarningMessage(message, category, file, line, None, said.line, source)


def _category(bases: Sequence[str]) -> type[Warning]:
    """The first of the class's ancestors that is loaded here, under the class's own name."""
    origin, _, name = bases[0].partition(":")
    for base in bases:
        module, _, qualname = base.partition(":")
        found = getattr(sys.modules.get(module), qualname, None)
        if isinstance(found, type) and issubclass(found, Warning):
            if base == bases[0]:
                return found
            return type(
                name.rpartition(".")[2], (found,), {"__module__": origin, "__qualname__": name}
            )
    return UserWarning
