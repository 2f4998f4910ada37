"""What one run leaves in ``.pytest_cache`` is what the next finds, as after serial runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.serial import Run, Suite, differences

FIRST = """
import pytest
def test_a(): assert 0
def test_b(): pass
@pytest.mark.parametrize("n", range(6))
def test_c(n): assert n % 3
class TestClass:
    def test_d(self): assert 0
    def test_e(self): pass
"""
SECOND = """
import pytest
@pytest.fixture
def bad(): raise ValueError
def test_f(bad): pass
def test_g(): pass
@pytest.mark.skip
def test_h(): pass
@pytest.mark.xfail
def test_i(): assert 0
"""
THIRD = "def test_j(): pass"


@pytest.fixture
def failing(suite: Suite) -> Suite:
    """Three modules, of which two have failures, last changed a minute apart."""
    suite.write(test_first=FIRST, test_second=SECOND, test_third=THIRD)
    for minutes, name in enumerate(("second", "first", "third")):
        os.utime(suite.path / f"test_{name}.py", (1e9, 1e9 + 60 * minutes))
    return suite


def series(suite: Suite, steps: list[str], *, with_braid: bool) -> list[Run]:
    """Consecutive runs from an empty cache. A step ``repair NAME`` repairs a module instead."""
    suite.forget()
    runs = []
    originals = {path: path.read_text() for path in suite.path.glob("test_*.py")}
    for step in steps:
        if step.startswith("repair "):
            path = suite.path / step.split()[1]
            path.write_text(originals[path].replace("assert 0", "pass"))
        else:
            # After -x it is a matter of luck what several workers had begun.
            workers = 1 if any("-x" in other for other in steps) else 2
            words = step.split()
            runs.append(
                suite.braid(*words, workers=workers) if with_braid else suite.serial(*words)
            )
    for path, text in originals.items():
        path.write_text(text)
        os.utime(path, (1e9, 1e9 + 60 * (path.name != "test_second.py")))
    return runs


def contents(run: Run) -> dict[str, object]:
    """The cache, without the node ids that pytest remembers in an order of no meaning."""
    return run.cache | {"cache/nodeids": sorted(run.cache.get("cache/nodeids", []))}


@pytest.mark.parametrize(
    "steps",
    [
        ["", "--lf", "repair test_first.py", "--lf", "", "--lf"],
        ["-x", "--lf"],
        ["test_first.py", "test_second.py", "--lf test_first.py", "--lf"],
        ["", "--lf -k test_c", "--lf --deselect test_first.py::test_a", "--ff --lf -q"],
        ["test_third.py", "--lf --lfnf=none", "--lf --lfnf=all"],
        ["", "--cache-clear"],
        ["", "--ff -x", "repair test_second.py", "--ff"],
        ["test_second.py test_third.py", "--nf -v", "--nf --ff"],
        ["-p no:cacheprovider", "--lf"],
    ],
    ids=" then ".join,
)
def test_runs_in_a_row_are_as_serial(failing: Suite, steps: list[str]) -> None:
    pairs = zip(
        series(failing, steps, with_braid=False),
        series(failing, steps, with_braid=True),
        strict=True,
    )
    for step, (serial, braid) in zip([s for s in steps if "repair" not in s], pairs, strict=True):
        found = differences(serial, braid)
        assert not found, (step, found)
        assert contents(serial) == contents(braid), step


def test_a_collector_that_failed_is_run_again_whole(suite: Suite) -> None:
    suite.write(test_a="import nowhere\ndef test_1(): pass", test_b="def test_2(): pass")
    steps = ["--continue-on-collection-errors", "--lf"]
    serial = series(suite, steps, with_braid=False)
    braid = series(suite, steps, with_braid=True)
    for one, other in zip(serial, braid, strict=True):
        assert not differences(one, other)
        assert contents(one) == contents(other)
    # and when it is repaired, its tests are remembered in its place
    suite.path.joinpath("test_a.py").write_text("def test_1(): assert 0\ndef test_3(): pass")
    repaired = suite.braid("--lf")
    assert repaired.outcomes.keys() == {"test_a.py::test_1", "test_a.py::test_3"}
    assert repaired.cache["cache/lastfailed"] == {"test_a.py::test_1": True}


def test_failed_first_begins_with_the_failed_ones(failing: Suite) -> None:
    failing.braid()
    order = [facts["nodeid"] for facts in failing.braid("--ff", workers=1).told("logstart")]
    serial = [facts["nodeid"] for facts in failing.serial("--ff").told("logstart")]
    assert order == serial


def test_new_first_begins_with_new_files_and_tests(failing: Suite) -> None:
    failing.braid("test_third.py")
    order = [facts["nodeid"] for facts in failing.braid("--nf", workers=1).told("logstart")]
    failing.forget()
    failing.serial("test_third.py")
    serial = [facts["nodeid"] for facts in failing.serial("--nf").told("logstart")]
    assert order == serial


@pytest.mark.parametrize(
    "steps",
    [
        ["--sw", "--sw", "repair test_first.py", "--sw", "--sw"],
        ["--sw", "--sw-skip", "--sw-skip"],
        ["--sw", ""],
        ["--sw", "--sw-reset"],
    ],
    ids=" then ".join,
)
def test_stepwise_stops_and_goes_on_as_serial(failing: Suite, steps: list[str]) -> None:
    if "--sw-reset" in steps and pytest.version_tuple < (8, 4):
        pytest.skip("pytest 8.4 brought --sw-reset")
    pairs = zip(
        series(failing, steps, with_braid=False),
        series(failing, steps, with_braid=True),
        strict=True,
    )
    for serial, braid in pairs:
        assert not differences(serial, braid)
        assert _without_dates(contents(serial)) == _without_dates(contents(braid))


def _without_dates(cache: dict[str, object]) -> dict[str, object]:
    stepwise = cache.get("cache/stepwise")
    if isinstance(stepwise, dict):
        cache = cache | {"cache/stepwise": {**stepwise, "last_cache_date_str": None}}
    return cache


def test_a_plugin_that_keeps_something_in_the_cache_finds_it(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_report_header(config): return f"before: {config.cache.get('own/value', None)}"
        def pytest_sessionfinish(session):
            if not hasattr(session.config, "workerinput"):
                session.config.cache.set("own/value", session.testscollected)
        """
    )
    suite.write(
        test_a="""
        def test_1(cache): cache.set("own/test", [1, "ä"])
        def test_2(pytestconfig): assert pytestconfig.cache.mkdir("folder").is_dir()
        """
    )
    braid = suite.braid()
    assert (braid.cache["own/value"], braid.cache["own/test"]) == (2, [1, "ä"])
    assert "before: 2" in suite.braid().lines


def test_a_cache_directory_of_choice(suite: Suite) -> None:
    suite.write(test_a="def test_1(): assert 0")
    suite.braid("-o", "cache_dir=other")
    assert Path(suite.path / "other/v/cache/lastfailed").exists()
    assert not Path(suite.path / ".pytest_cache").exists()
