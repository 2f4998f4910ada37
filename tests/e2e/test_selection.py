"""Which tests run, in which order, and what is counted."""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.serial import Suite, differences

MARKED = """
import pytest
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.slow
@pytest.mark.net(host="x")
def test_both(): assert 0
def test_neither(): pass
@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_named(name): assert name != "three"
class TestGroup:
    def test_inside(self): pass
"""


@pytest.fixture
def marked(suite: Suite) -> Suite:
    suite.ini("markers =\n  slow: takes long\n  net: needs a network")
    suite.write(test_marked=MARKED, test_more="def test_named(): pass")
    suite.path.joinpath("folder").mkdir()
    suite.path.joinpath("folder/test_below.py").write_text("def test_below(): pass")
    return suite


@pytest.mark.parametrize(
    "args",
    [
        "-k named",
        "-k 'not named and not below'",
        "-m slow",
        "-m 'not net' -k test",
        "--deselect test_marked.py::test_slow --deselect folder",
        "--ignore=folder --ignore-glob=*more*",
        "test_marked.py::TestGroup folder",
        "'test_marked.py::test_named[two]' test_more.py::test_named",
        "--strict-markers --strict-config -p no:doctest",
        "-k nothing_is_called_so",
        "--collect-only -q",
        "--rootdir=folder folder",
        "-c /dev/null -o addopts=-rA",
        "-p no:terminal",
        "-p no:logging -p no:junitxml -p no:unittest -p no:pastebin",
        "-p no:warnings -p no:tmpdir -p no:faulthandler",
    ],
)
def test_selected_tests_and_counts_are_as_serial(marked: Suite, args: str) -> None:
    marked.same(*shlex.split(args))


def test_a_plugin_may_reorder_and_deselect(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_collection_modifyitems(config, items):
            items.reverse()
            config.hook.pytest_deselected(items=items[:2])
            del items[:2]
        def pytest_itemcollected(item):
            item.user_properties.append(("collected", item.name))
        """
    )
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(9))\ndef test_1(n): pass"
    )
    serial, _ = suite.same()
    assert len(serial.outcomes) == 7
    orders = [
        [f["nodeid"] for f in run.told("logstart")] for run in (serial, suite.braid(workers=1))
    ]
    assert orders[0] == orders[1]


def test_with_one_worker_the_order_is_that_of_a_serial_run(marked: Suite) -> None:
    serial, braid = marked.same("-v", workers=1)
    assert [f["nodeid"] for f in serial.told("logreport")] == [
        f["nodeid"] for f in braid.told("logreport")
    ]


@pytest.mark.parametrize("args", ["-x", "--maxfail=2", "--exitfirst -q"])
def test_no_test_begins_when_enough_have_failed(suite: Suite, args: str) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(40))
        def test_1(n): assert n < 3
        """
    )
    suite.same(*args.split(), workers=1)
    serial, braid = suite.serial(*args.split()), suite.braid(*args.split())
    assert serial.exit == braid.exit == 1
    most = 2 if "2" in args else 1
    failed = [f for f in braid.told("logreport") if f["outcome"] == "failed"]
    # The other worker may have been at one of its own.
    assert most <= len(failed) <= most + 1
    assert f"stopping after {len(failed)} failures !" in braid.text


def test_after_enough_failures_every_fixture_is_torn_down(suite: Suite) -> None:
    log = suite.base / "fixtures"
    suite.conftest(
        f"""
        import os, pytest
        def note(word):
            with open({str(log)!r}, "a") as file: file.write(f"{{word}} {{os.getpid()}}\\n")
        def make(scope):
            @pytest.fixture(scope=scope, autouse=True, name=scope)
            def fixture():
                note("up " + scope); yield; note("down " + scope)
            return fixture
        a, b, c = map(make, ("session", "module", "function"))
        """
    )
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(30))
        def test_1(n): assert n < 2
        """
    )
    assert suite.braid("-x").exit == 1
    lines = sorted(log.read_text().splitlines())
    ups = [line.removeprefix("up ") for line in lines if line.startswith("up ")]
    downs = [line.removeprefix("down ") for line in lines if line.startswith("down ")]
    assert ups == downs


def test_an_error_in_collection_stops_the_run_unless_told_otherwise(suite: Suite) -> None:
    suite.write(
        test_bad="import nowhere",
        test_worse="def test_1(:",
        test_raises="raise ValueError('at import')",
        test_ignored="import pytest\npytest.skip('the whole', allow_module_level=True)",
        test_missing="import pytest\npytest.importorskip('nowhere')",
        test_good="def test_1(): pass\ndef test_2(): assert 0",
    )
    suite.same("-rA")
    suite.same("-rA", "--color=yes", "-v")
    suite.same("--continue-on-collection-errors")
    suite.same("-x")
    suite.same("--maxfail=2", "--continue-on-collection-errors", workers=1)
    suite.same("--tb=short", "-q", "test_good.py", "test_bad.py")


def test_a_suite_of_skipped_modules_has_no_test(suite: Suite) -> None:
    suite.write(test_a="import pytest\npytest.skip('all', allow_module_level=True)")
    serial, _ = suite.same("-rs")
    assert serial.exit == pytest.ExitCode.NO_TESTS_COLLECTED


def test_parameters_that_fail_are_an_error_of_collection(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("a,b", [(1, 2, 3)])
        def test_1(a, b): pass
        @pytest.mark.parametrize("n", [])
        def test_2(n): pass
        def test_3(missing): pass
        """,
        test_b="""
        import pytest
        @pytest.mark.parametrize("n", [])
        def test_2(n): pass
        def test_3(missing): pass
        """,
    )
    # With braid in both: what is missing is shown with the fixtures that there are.
    args = ["-rA", "--continue-on-collection-errors"]
    assert not differences(suite.plain("-p", "braid", *args), suite.braid(*args))


def test_tests_of_an_installed_package(suite: Suite) -> None:
    package = suite.path / "src" / "own"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    package.joinpath("test_inside.py").write_text("def test_1(): pass\ndef test_2(): assert 0")
    suite.ini("pythonpath = src")
    suite.same("--pyargs", "own")


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_each_way_of_importing(suite: Suite, mode: str) -> None:
    for folder in ("one", "two"):
        path = suite.path / folder
        path.mkdir()
        name = "test_same" if mode == "importlib" else f"test_{folder}"
        (path / f"{name}.py").write_text("def test_1(): assert 0, __name__")
    suite.same(f"--import-mode={mode}")


def test_thousands_of_tests_are_all_there(suite: Suite) -> None:
    suite.write(
        test_many="import pytest\n@pytest.mark.parametrize('n', range(3000))\ndef test_1(n): pass"
    )
    serial, braid = suite.serial("-q"), suite.braid("-q")
    assert serial.outcomes == braid.outcomes
