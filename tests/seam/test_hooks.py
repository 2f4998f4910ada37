"""Which hooks a test has, found at once."""

from __future__ import annotations

import types
from typing import Any

import pytest

from pytest_braid.seam.hooks import remember_hooks


def test_a_test_has_the_hooks_that_pytest_finds(pytester: pytest.Pytester) -> None:
    for folder in ("one", "other"):
        pytester.mkpydir(folder).joinpath("test_it.py").write_text("def test_it(): pass\n")
    items, _ = pytester.inline_genitems()
    session: Any = items[0].session
    hooks = session.config.hook
    assert [item.ihook is hooks for item in items] == [True, True]
    remember_hooks(session)
    for item in (*items, *items):
        assert item.ihook is hooks
        assert item.ihook is hooks
    session.config.pluginmanager._conftest_plugins.add(types.ModuleType("conftest"))  # noqa: SLF001
    for item in (*items, *items):
        assert item.ihook is not hooks


def test_a_conftest_of_another_folder_is_left_out(pytester: pytest.Pytester) -> None:
    for folder in ("one", "other"):
        pytester.mkpydir(folder).joinpath("test_it.py").write_text("def test_it(): pass\n")
    pytester.path.joinpath("one", "conftest.py").write_text("def pytest_runtest_setup(): pass\n")
    items, _ = pytester.inline_genitems()
    hooks = items[0].config.hook
    before = [item.ihook is hooks for item in items]
    assert before == [True, False]
    remember_hooks(items[0].session)
    for _ in range(3):
        assert [item.ihook is hooks for item in items] == before
