"""What pytest knows of a test's fixtures when it has collected it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.seam.closures import definitions, probe_closures


def test_every_definition_that_is_used_is_found_and_no_other(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        @pytest.fixture
        def kept(): pass
        @pytest.fixture
        def hidden(): pass
        @pytest.fixture(autouse=True)
        def everywhere(): pass
        @pytest.fixture
        def unused(): pass
        """
    )
    item = pytester.getitem(
        """
        import pytest
        @pytest.fixture
        def kept(kept): pass
        @pytest.fixture
        def hidden(): pass
        def test_func(kept, hidden): pass
        """,
    )
    used = ((each.argname, each.func.__module__) for each in definitions(item))
    found = sorted(one for one in used if one[0] != "event_loop_policy")  # of pytest-asyncio
    here = item.module.__name__  # type: ignore[attr-defined]
    assert found == sorted(
        [("everywhere", "conftest"), ("hidden", here), ("kept", "conftest"), ("kept", here)]
    )
    assert probe_closures(item) is None


def test_the_probe_says_what_was_looked_for() -> None:
    item: Any = SimpleNamespace(_fixtureinfo=SimpleNamespace())
    assert probe_closures(item) == (
        "pytest keeps the fixtures of a test otherwise than braid knows it "
        f"(FuncFixtureInfo.name2fixturedefs, pytest {pytest.__version__})"
    )


def test_an_item_that_knows_no_fixtures_has_none() -> None:
    item: Any = SimpleNamespace()
    assert probe_closures(item) is None
    assert [*definitions(item)] == []
