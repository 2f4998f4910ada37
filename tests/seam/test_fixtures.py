"""What threads need of pytest's fixtures, and what is said where it is not there."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_braid.seam import fixtures
from tests.e2e.running import Stage, staged


def test_this_pytest_is_known(request: pytest.FixtureRequest) -> None:
    assert fixtures.why_not(request.session) is None


@pytest.mark.parametrize("name", ["stack", "setup", "addfinalizer", "teardown_exact"])
def test_another_setup_state_is_a_reason(pytester: pytest.Pytester, name: str) -> None:
    session: Any = pytester.getitem("def test_func(): pass").session
    known = ("stack", "setup", "addfinalizer", "teardown_exact")
    session._setupstate = type("Other", (), dict.fromkeys({*known} - {name}))()  # noqa: SLF001
    assert fixtures.why_not(session) == f"pytest {pytest.__version__} has no SetupState"


def test_a_cache_elsewhere_is_a_reason(pytester: pytest.Pytester) -> None:
    item: Any = pytester.getitem("def test_func(tmp_path): pass")
    session = item.session
    session.items = [item]
    assert fixtures.why_not(session) is None
    for (definition,) in item._fixtureinfo.name2fixturedefs.values():  # noqa: SLF001
        del definition.cached_result
    told = fixtures.why_not(session)
    assert told == f"pytest {pytest.__version__} has no FixtureDef.cached_result"


@pytest.fixture
def stage(pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory) -> Any:
    yield from staged(pytester, tmp_path_factory.mktemp("runs"))


def test_a_run_with_threads_is_refused_and_says_why(stage: Stage) -> None:
    stage.write(
        conftest="""
        from pytest_braid.seam import fixtures
        fixtures.why_not = lambda session: "pytest 99 has no SetupState"
        """,
        test_a="def test_1(): pass",
    )
    run = stage.run("--threads=2", workers=1)
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert (
        "--threads is not possible here: pytest 99 has no SetupState. This version of pytest-braid "
        "knows pytest otherwise; run without --threads, or with another version of one of the two."
    ) in run.text + run.errors
