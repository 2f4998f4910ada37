"""Warnings of tests that run at once: filters, recordings, and what is shown only once."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest import warnings as pytest_warnings  # noqa: TID251 -- what is replaced

from pytest_braid.capture.isolation import Isolation
from pytest_braid.capture.ownership import owned
from tests.capture.conftest import Overlapped

SOURCE = """
import warnings, pytest, threading
from warnings import warn, catch_warnings, simplefilter

def issue(text="issued", category=UserWarning):
    warn(text, category)

@pytest.mark.parametrize("n", range(3))
def test_issues(n):
    meet()
    for _ in range(3):
        issue()
        meet()
    issue("another")
    for _ in range(3):
        warnings.warn_explicit("explicit", UserWarning, "file.py", 3)
    warnings.warn("deprecated", DeprecationWarning)

@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", range(2))
def test_has_errors(n):
    meet()
    issue()

@pytest.mark.filterwarnings("ignore:issued")
def test_ignores():
    meet()
    issue()
    meet()
    issue("not ignored")

@pytest.mark.filterwarnings("error")
class TestMarked:
    @pytest.mark.filterwarnings("default:issued")
    def test_has_a_mark_of_its_own(self):
        meet()
        issue()
        with pytest.raises(UserWarning):
            issue("another")

@pytest.fixture
def quiet():
    issue("in setup")
    with catch_warnings():
        simplefilter("ignore")
        yield
    issue("in teardown")

def test_is_within_a_fixture_of_other_filters(quiet):
    meet()
    issue("ignored")

@pytest.mark.parametrize("action", ["default", "once", "module", "always"])
def test_counts(action):
    simplefilter(action)
    meet()
    for line in "ab":
        warnings.warn("same")
        warnings.warn("same")
    meet()
    simplefilter(action, ImportWarning)  # a change: whatever was shown may be shown again
    issue("same")

@pytest.mark.parametrize("n", range(3))
def test_records(recwarn, n):
    with pytest.warns(UserWarning, match=f"number {n}"):
        meet()
        issue(f"number {n}")
        issue("an other")
        meet()
    with catch_warnings(record=True) as log:
        meet()
        simplefilter("always")
        issue(f"recorded {n}")
        warnings.showwarning("shown", UserWarning, "file.py", n)
        meet()
    assert [str(entry.message) for entry in log] == [f"recorded {n}", "shown"]
    with pytest.deprecated_call():
        meet()
        issue(category=DeprecationWarning)
    assert [str(entry.message) for entry in recwarn] == ["an other"]

def test_reads_and_changes_the_filters():
    before = list(warnings.filters)
    meet()
    with catch_warnings():
        warnings.resetwarnings()
        meet()
        assert warnings.filters == [] and len(warnings.filters) == 0
        warnings.filterwarnings("ignore", "a message", module="amodule", append=True)
        simplefilter("once")
        simplefilter("once")
        assert [action for action, *rest in warnings.filters] == ["once", "ignore"]
        assert ("once", None, Warning, None, 0) in warnings.filters
        warnings.filters.pop()
        issue()
        issue()
    meet()
    assert list(warnings.filters) == before

def test_shows_for_itself():
    shown = []
    with catch_warnings():
        warnings.showwarning = lambda *args: shown.append(str(args[0]))
        meet()
        issue("to the function")
        meet()
    assert shown == ["to the function"]

def test_is_warned_by_its_thread():
    meet()
    thread = threading.Thread(target=issue, args=("from the thread",))
    thread.start()
    thread.join()

@pytest.mark.filterwarnings("error::SyntaxWarning")
def test_is_warned_by_the_interpreter():
    meet()
    with pytest.raises(SyntaxError):
        compile("1 is 1", "text", "exec")
"""


def test_each_test_has_its_own_warnings(overlapped: Overlapped) -> None:
    record = overlapped(SOURCE)
    found = [(entry["test"].partition("::")[2], entry["text"]) for entry in record["warnings"]]
    issued = [text for test, text in found if test == "test_issues[1]"]
    assert issued == ["issued", "another", *["explicit"] * 3, "deprecated"]
    counts = {
        action: sum(test == f"test_counts[{action}]" for test, _ in found)
        for action in ("default", "once", "module", "always")
    }
    assert counts == {"default": 3, "once": 2, "module": 2, "always": 5}


def test_what_the_configuration_ignores_is_ignored(
    overlapped: Overlapped, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nfilterwarnings =\n    ignore:another\n    always:issued\n")
    record = overlapped(SOURCE)
    texts = {entry["text"] for entry in record["warnings"]}
    assert "issued" in texts
    assert "another" not in texts


WRAPPED = """
import pytest, warnings

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    with warnings.catch_warnings():
        if "strict" in item.name:
            warnings.simplefilter("error")
        return (yield)
"""


def test_filters_around_one_test_are_no_other_tests(overlapped: Overlapped) -> None:
    source = """
import warnings, pytest

@pytest.mark.parametrize("how", ["strict 1", "lax 1", "lax 2", "strict 2"])
def test_it(how):
    meet()
    warnings.warn("issued")
"""
    record = overlapped(source, conftest=WRAPPED)
    outcomes = [entry["outcome"] for entry in record["reports"] if entry["when"] == "call"]
    assert sorted(outcomes) == ["failed", "failed", "passed", "passed"]


def test_what_pytest_says_of_the_configuration_is_said_of_each_test(
    overlapped: Overlapped, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = ignore::nosuchmodule.Missing\n")
    if pytester.runpytest_subprocess("--version", "--version").ret == pytest.ExitCode.USAGE_ERROR:
        pytest.skip("this pytest does not warn of it, but refuses it")
    source = "import pytest\n@pytest.mark.parametrize('n', range(3))\ndef test_it(n): meet()\n"
    overlapped(source)


def test_filters_that_are_added_to_the_configuration_hold_from_then_on(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    config = pytester.parseconfigure()
    ihook = SimpleNamespace()

    def actions() -> list[str]:
        with (
            owned(request.node),
            pytest_warnings.catch_warnings_for_item(
                config=config, ihook=ihook, when="runtest", item=request.node
            ),
        ):
            return [action for action, _, kind, *_ in warnings.filters if kind is ImportWarning]

    with Isolation(config), warnings.catch_warnings():
        before = actions()
        config.addinivalue_line("filterwarnings", "error::ImportWarning")
        assert actions() == ["error", *before]
        warnings.simplefilter("once", ImportWarning)
        assert actions() == ["error", "once", *before]


def test_what_was_shown_to_all_is_shown_to_the_next_test(
    pytester: pytest.Pytester, request: pytest.FixtureRequest
) -> None:
    """Between two tests, where nobody records it."""
    told: list[dict[str, Any]] = []

    def tell(*, kwargs: dict[str, Any]) -> None:
        told.append(kwargs)

    ihook = SimpleNamespace(pytest_warning_recorded=SimpleNamespace(call_historic=tell))
    config = pytester.parseconfigure()

    def issue() -> None:
        warnings.warn("issued", stacklevel=1)

    with warnings.catch_warnings(), Isolation(config):
        warnings.simplefilter("default")
        for _ in range(2):
            issue()
            with (
                owned(request.node),
                pytest_warnings.catch_warnings_for_item(
                    config=config, ihook=ihook, when="runtest", item=request.node
                ),
            ):
                issue()
    assert [str(each["warning_message"].message) for each in told] == ["issued"] * 2
    assert {(each["nodeid"], each["when"]) for each in told} == {(request.node.nodeid, "runtest")}


SHOWN_BEFORE = """
import warnings, pytest

def issue():
    warnings.warn("issued")

@pytest.fixture(scope="session")
def issues():
    return issue

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    warnings.simplefilter("default")
    for _ in range(2):
        issue()
"""


def test_what_was_shown_where_no_test_ran_is_shown_in_a_test(overlapped: Overlapped) -> None:
    record = overlapped("def test_one(issues): meet(); issues()\n", conftest=SHOWN_BEFORE)
    assert [entry["text"] for entry in record["warnings"]] == ["issued"]


def test_warnings_are_errors_where_the_command_line_says_so(overlapped: Overlapped) -> None:
    record = overlapped(SOURCE, "-W", "error::UserWarning")
    failed = {entry["test"] for entry in record["reports"] if entry["outcome"] == "failed"}
    assert "test_it.py::test_issues[0]" in failed
    assert "test_it.py::test_is_warned_by_the_interpreter" not in failed
