"""What a run learns for the next, and where it keeps that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_braid.history.file import load
from pytest_braid.history.record import History
from tests.e2e.serial import Suite

LATE = """
import time, pytest
@pytest.fixture(scope="module", params=[1, 2])
def dear(request): time.sleep(0.1)
@pytest.mark.parametrize("n", range(6))
def test_dear(dear, n): time.sleep(0.01)
def test_long(): time.sleep(0.6)
"""

NAME = Path(".pytest_cache", "d", "braid", "history.json")


@pytest.fixture
def late(suite: Suite) -> Suite:
    """A suite whose longest test is the last."""
    suite.write(test_it=LATE)
    return suite


def path(suite: Suite) -> Path:
    return Path(suite.pytester.path, NAME)


def known(suite: Suite) -> History:
    loaded = load(path(suite))
    assert loaded.fault is None
    return loaded.history


def begun(suite: Suite, *options: str) -> list[int]:
    """The tests that the workers are given first, before anything is known of this run."""
    log = Path(suite.pytester.path, "log.jsonl")
    assert suite.braid(f"--braid-log={log}", *options).exit == 0
    lines = map(json.loads, log.read_text().splitlines())
    return [line["tests"][0] for line in lines if line["type"] == "Assign"][:2]


LONG = 12
"""The number of the longest test."""


def test_the_second_run_begins_with_what_took_longest(late: Suite) -> None:
    assert LONG not in begun(late)
    assert begun(late)[0] == LONG


def test_tests_and_the_fixtures_that_they_share_are_known(late: Suite) -> None:
    late.braid()
    history = known(late)
    assert len(history.tests) == 13
    long = history.tests["test_it.py::test_long"]
    assert 0.6 <= long.call < 5
    assert long.waits is not None
    assert history.fixtures.keys() == {"test_it.py::dear[0]", "test_it.py::dear[1]"}
    assert all(cost.setup >= 0.1 for cost in history.fixtures.values())
    assert all(test.setup < 0.1 for test in history.tests.values())


@pytest.mark.parametrize(
    "options",
    [("--braid-history", "off"), ("--braid-history=read",), ("-p", "no:cacheprovider")],
    ids=lambda options: options[-1],
)
def test_nothing_is_learnt_where_nothing_shall_be(late: Suite, options: tuple[str, ...]) -> None:
    assert late.braid(*options).exit == 0
    assert not path(late).exists()


def test_the_ini_key_counts_and_the_option_more(late: Suite) -> None:
    late.ini("braid_history = off\n")
    late.braid()
    assert not path(late).exists()
    late.braid("--braid-history", "on")
    assert path(late).exists()


def test_a_wrong_value_of_the_ini_key_is_named(late: Suite) -> None:
    late.ini("braid_history = sometimes\n")
    run = late.braid()
    assert run.exit == 4
    assert (
        "ERROR: the ini option braid_history: 'sometimes' is not one of on, read, off"
        in run.errors.splitlines()
    )


def test_what_was_learnt_is_used_and_kept_as_it_is_with_read(late: Suite) -> None:
    late.braid()
    before = path(late).read_bytes()
    assert begun(late, "--braid-history", "read")[0] == LONG
    assert path(late).read_bytes() == before


def test_a_broken_file_is_set_aside_and_the_run_says_so(late: Suite) -> None:
    late.braid()
    path(late).write_bytes(b"{")
    run = late.braid()
    assert run.exit == 0
    (line,) = [line for line in run.lines if line.startswith("braid: what earlier runs")]
    assert "this is no history of pytest-braid" in line
    assert path(late).with_name("history.json.broken").read_bytes() == b"{"
    assert len(known(late).tests) == 13


def test_a_cleared_cache_knows_only_the_run(late: Suite) -> None:
    late.braid()
    late.braid("-k", "test_long", "--cache-clear")
    assert known(late).tests.keys() == {"test_it.py::test_long"}


PART = "test_it.py::test_long"


@pytest.mark.parametrize(
    "options", [("-k", "test_long"), ("--deselect", "test_it.py::test_dear"), (PART,), ("-x",)]
)
def test_a_test_that_only_did_not_run_is_not_missed(late: Suite, options: tuple[str, ...]) -> None:
    late.write(test_it=LATE.replace("0.6", "0.01"))
    late.braid()
    before = known(late).tests
    late.braid(*options)
    after = known(late).tests
    assert after.keys() == before.keys()
    assert after[PART].runs == 2
    assert not any(test.missed for test in after.values())


def test_what_the_last_failed_do_not_show_is_not_missed(late: Suite) -> None:
    late.write(test_it=LATE.replace("time.sleep(0.6)", "assert 0"))
    late.braid()
    late.braid("--lf")
    assert len(known(late).tests) == 13
    assert not any(test.missed for test in known(late).tests.values())


def test_a_test_that_is_gone_is_missed(late: Suite) -> None:
    late.braid()
    late.write(test_it=LATE.replace("test_long", "test_short").replace("0.6", "0.01"))
    late.braid()
    assert [name for name, test in known(late).tests.items() if test.missed] == [PART]


@pytest.mark.parametrize(
    "options",
    [("--ff",), ("--ff", "--dist=worksteal"), ("--ff", "--dist=loadfile"), ("--ff", "--threads=2")],
    ids=" ".join,
)
def test_what_failed_is_dealt_before_all_others_where_that_is_asked_for(
    suite: Suite, options: tuple[str, ...]
) -> None:
    failing = """
        import pytest
        @pytest.mark.parametrize("n", range(30))
        def test_it(n): assert n not in FAILING
    """
    suite.write(
        test_a=failing.replace("FAILING", "()"),
        test_b=failing.replace("FAILING", "(3, 7, 29)"),
        test_c=failing.replace("FAILING", "(11,)"),
    )
    suite.braid()
    log = Path(suite.pytester.path, "log.jsonl")
    run = suite.braid(f"--braid-log={log}", *options)
    assert len(run.outcomes) == 90
    lines = map(json.loads, log.read_text().splitlines())
    dealt = [(line["worker"], line["tests"]) for line in lines if line["type"] == "Assign"]
    if "loadfile" in str(options):  # the files that have such tests
        assert [tests[0] for _, tests in dealt[:2]] == [0, 3]
    else:
        assert [tests for _, tests in dealt[:4]] == [[0], [1], [2], [3]]
        assert len({worker for worker, _ in dealt[:2]}) == 2


def test_what_is_new_is_dealt_before_all_others_where_that_is_asked_for(late: Suite) -> None:
    late.braid()
    late.write(test_new="def test_1(): pass\ndef test_2(): pass")
    assert begun(late, "--nf") == [0, 1]


def test_the_order_that_failed_first_asks_for_is_kept(late: Suite) -> None:
    late.braid()
    assert begun(late, "--ff")[0] == 0


ORDERS = {
    "conftest": "def pytest_collection_modifyitems(items): items.reverse()",
    "first": """
import pytest
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items): items.reverse()""",
    "around": """
import pytest
@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    yield
    items.reverse()""",
    "at the end": "def pytest_collection_finish(session): session.items.reverse()",
}

MIDDLE = """
import time, pytest
@pytest.mark.parametrize("n", range(13))
def test_it(n): time.sleep(0.6 if n == 6 else 0.01)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("hook", ORDERS)
def test_an_order_of_the_project_s_own_is_kept(suite: Suite, hook: str, method: str) -> None:
    suite.write(conftest=ORDERS[hook], test_it=MIDDLE)
    suite.braid()
    assert begun(suite, "--start-method", method)[0] == 0


def test_the_order_of_a_plugin_that_orders_is_kept(suite: Suite) -> None:
    suite.plugin("pytest_order", "")
    suite.write(test_it=MIDDLE)
    suite.braid()
    assert begun(suite)[0] == 0


@pytest.mark.parametrize(
    "hook",
    [
        "",
        "def pytest_collection_modifyitems(items): del items[2]",
        "def pytest_itemcollected(): pass",
    ],
)
def test_what_pytest_itself_puts_in_order_is_no_wish(late: Suite, hook: str) -> None:
    """With the fixture's parameter it reorders the tests."""
    late.conftest(hook)
    long = LONG - ("del" in hook)
    assert long not in begun(late)
    assert begun(late)[0] == long


@pytest.mark.parametrize("options", [(), ("--threads", "2"), ("--start-method", "spawn")])
def test_each_parameter_is_set_up_once_whoever_runs_the_tests(
    suite: Suite, options: tuple[str, ...]
) -> None:
    suite.write(test_it=LATE)
    suite.braid(*options)
    assert known(suite).fixtures.keys() == {"test_it.py::dear[0]", "test_it.py::dear[1]"}
