from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pytest_braid.capture.ownership import Owner, owned, owner, values
from pytest_braid.seam import threads


def in_thread(function: Callable[[], Any]) -> Any:
    """What ``function`` returns in a thread that is started here."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def item(request: pytest.FixtureRequest) -> pytest.Item:
    node: pytest.Item = request.node
    return node


def test_code_of_no_test_has_no_owner() -> None:
    assert owner() is None
    assert values() is None


def test_everything_inside_is_owned(item: pytest.Item) -> None:
    with owned(item) as mine:
        assert owner() is mine
        assert mine.item is item
        assert values() is mine.values
        assert not mine.is_over
    assert owner() is None


def test_what_runs_beside_is_not_owned(item: pytest.Item) -> None:
    beside = contextvars.Context()
    with owned(item):
        assert beside.run(owner) is None
        assert in_thread(owner) is None


def test_a_thread_belongs_to_who_started_it(item: pytest.Item) -> None:
    with threads.inheriting(values), owned(item) as mine:
        assert in_thread(owner) is mine
        assert in_thread(lambda: in_thread(owner)) is mine


def test_what_a_test_leaves_behind_is_nobodys(item: pytest.Item) -> None:
    started, ended = threading.Event(), threading.Event()
    found: list[Owner | None] = []

    def stay() -> None:
        found.append(owner())
        started.set()
        ended.wait()
        found.append(owner())

    with threads.inheriting(values), owned(item) as mine:
        thread = threading.Thread(target=stay)
        thread.start()
        started.wait()
        kept = contextvars.copy_context()
    ended.set()
    thread.join()
    assert found == [mine, None]
    assert kept.run(owner) is None


def test_nothing_is_inherited_when_that_is_over(item: pytest.Item) -> None:
    before = threading.Thread.start
    with threads.inheriting(values):
        assert threading.Thread.start is not before
    assert threading.Thread.start is before
    with owned(item):
        assert in_thread(owner) is None


def test_a_running_thread_is_found() -> None:
    assert threads.probe() is None


def test_an_owner_says_whose_it_is(item: pytest.Item) -> None:
    with owned(item) as mine:
        assert repr(mine) == f"<Owner {item.nodeid}>"
    assert repr(mine) == f"<Owner {item.nodeid} (over)>"
