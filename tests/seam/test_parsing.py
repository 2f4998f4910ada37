"""Threads parse one after another: before Python 3.13 they disturb each other."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_braid.seam import parsing


def can_begin() -> bool:
    """Whether another thread could parse now."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(parsing.LOCK.acquire, blocking=False).result()
        if found:
            pool.submit(parsing.LOCK.release).result()
    return found


def test_nobody_parses_while_another_thread_does(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ast, "parse", lambda *_, **__: can_begin())
    plain = ast.parse
    with parsing.isolated(pytestconfig, dict):
        assert ast.parse("1") is False  # type: ignore[comparison-overlap]
        assert can_begin()
    assert ast.parse is plain


def test_what_is_parsed_is_the_same(pytestconfig: pytest.Config) -> None:
    with parsing.isolated(pytestconfig, dict):
        tree = ast.parse("a = 1", "file.py", mode="exec", type_comments=True)
    assert ast.unparse(tree) == "a = 1"
    with parsing.isolated(pytestconfig, dict), pytest.raises(SyntaxError):
        ast.parse("a =")
    assert can_begin()
