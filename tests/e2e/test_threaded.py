"""Suites written for pytest-threaded run as they are, and without its faults."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.running import Stage
from tests.e2e.serial import Suite

USUAL = """
    import threading, pytest
    from pytest_threaded import concurrent_test, concurrent_function_fixture, generate_tests
"""

THREE = (
    USUAL
    + """
    together = threading.Barrier(3, timeout=30)

    @pytest.fixture(scope="function")
    @concurrent_function_fixture
    def value():
        yield {"value": 42}

    @concurrent_test
    def one(value): together.wait(); print("of one", value)
    @concurrent_test
    def test_two(value): together.wait(); assert value["value"] == 43
    @concurrent_test
    def three(): together.wait(); note("ran three")

    generate_tests(globals())
"""
)


def write(suite: Suite, source: str) -> None:
    suite.write(test_a=source.replace('note("ran three")', 'print("ran three")'))


def test_without_any_option_its_tests_run_at_once(suite: Suite) -> None:
    write(suite, THREE)
    found = suite.plain("-p", "braid", "-v")
    assert "braid: tests marked 'concurrent' run in threads, 4 at once" in found.lines
    assert found.outcomes == {
        "test_a.py::test_all": "setup passed, call passed, teardown passed",
        "test_a.py::test_one": "setup passed, call passed, teardown passed",
        "test_a.py::test_two": "setup passed, call failed, teardown passed",
        "test_a.py::test_three": "setup passed, call passed, teardown passed",
    }
    assert "assert 42 == 43" in found.text


def test_the_option_says_how_many_and_the_public_names_are_the_same(suite: Suite) -> None:
    write(suite, THREE.replace("from pytest_threaded", "from pytest_braid"))
    found = suite.plain("-p", "braid", "-n0", "--threads=3")
    assert "braid: 3 tests at once, in threads of this process" in found.lines
    assert Counter(found.outcomes.values()) == {
        "setup passed, call passed, teardown passed": 3,
        "setup passed, call failed, teardown passed": 1,
    }


@pytest.mark.parametrize("options", [(), ("-n1", "--threads=4"), ("-n0", "--threads=4")], ids=str)
def test_test_all_alone_runs_all_of_them(suite: Suite, options: tuple[str, ...]) -> None:
    write(suite, THREE)
    found = suite.plain("-p", "braid", *options, "test_a.py::test_all")
    assert found.outcomes == {"test_a.py::test_all": "setup passed, call failed, teardown passed"}
    assert "assert 42 == 43" in found.text
    assert "_pytest/runner.py" not in found.text
    shown = "Captured stdout (test_one, call) call"
    assert shown in found.text
    assert "of one {'value': 42}" in found.text


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_a_worker_without_threads_test_all_runs_them_too(suite: Suite, method: str) -> None:
    write(suite, THREE.replace("together.wait()", "pass"))
    found = suite.plain("-p", "braid", "-n1", f"--start-method={method}", "test_a.py::test_all")
    assert found.outcomes == {"test_a.py::test_all": "setup passed, call failed, teardown passed"}


@pytest.mark.parametrize("options", [("-n1",), ("-n1", "--threads=1"), ("-n0", "--threads=1")])
def test_an_import_alone_isolates_nothing(suite: Suite, options: tuple[str, ...]) -> None:
    suite.write(
        test_a=USUAL
        + """
    import sys, types
    def test_streams_are_those_of_the_process():
        assert type(sys) is types.ModuleType
    def test_fixtures_are_pytests_own(request):
        if request.config.option.numprocesses or not request.config.option.threads:
            assert type(request.session._setupstate).__module__ == "_pytest.runner"
"""
    )
    found = suite.plain("-p", "braid", *options)
    assert found.exit == 0, found.text
    assert len(found.outcomes) == 2


def test_a_single_test_is_only_that(suite: Suite) -> None:
    write(suite, THREE.replace("together.wait()", "pass"))
    found = suite.plain("-p", "braid", "-s", "test_a.py::test_three")
    assert [*found.outcomes] == ["test_a.py::test_three"]
    assert "ran three" in found.text


def test_marks_parameters_classes_and_fixtures_of_every_kind(suite: Suite) -> None:
    suite.write(
        test_a=USUAL
        + """
    @pytest.fixture(scope="module")
    def base(): return 1
    @pytest.fixture(params=[10, 20])
    @concurrent_function_fixture
    def number(base, tmp_path, request):
        yield base + request.param
    @pytest.fixture
    @concurrent_function_fixture
    def returned(number): return number * 2

    @concurrent_test
    def uses(returned): assert returned in (22, 42)
    @concurrent_test
    @pytest.mark.parametrize("n", [1, 2])
    def parametrized(n): assert n
    @pytest.mark.skip(reason="not now")
    @concurrent_test
    def skipped(): assert 0
    @pytest.mark.xfail(strict=True)
    @concurrent_test
    def fails(): assert 0
    @pytest.mark.concurrent
    class Test:
        def test_method(self, returned): assert returned
    generate_tests(globals())
""",
        test_b=USUAL
        + """
    @concurrent_test
    def of_b(): pass
    generate_tests(globals())
""",
    )
    found = suite.plain("-p", "braid")
    assert found.exit == 0
    passed = "setup passed, call passed, teardown passed"
    names = Counter(nodeid for nodeid, told in found.outcomes.items() if told == passed)
    assert {*names} == {
        "test_a.py::test_all",
        "test_a.py::test_uses[10]",
        "test_a.py::test_uses[20]",
        "test_a.py::test_parametrized[1]",
        "test_a.py::test_parametrized[2]",
        "test_a.py::Test::test_method[10]",
        "test_a.py::Test::test_method[20]",
        "test_b.py::test_all",
        "test_b.py::test_of_b",
    }
    assert found.outcomes["test_a.py::test_skipped"] == "setup skipped, teardown passed"
    assert found.outcomes["test_a.py::test_fails"] == "setup passed, call skipped, teardown passed"


def test_other_tests_run_as_ever(stage: Stage) -> None:
    stage.write(
        test_a=USUAL
        + """
    @concurrent_test
    def one(): note("concurrent", threading.current_thread().name[:12])
    generate_tests(globals())
    def test_plain(): note("plain", threading.current_thread().name)
"""
    )
    running = stage.prepare(braid=False)
    running.replace_command(*running.command[:3], "-p", "braid")
    ended = running.start().end()
    assert ended.counts == {"passed": 3}
    assert {*ended.notes} == {"concurrent braid-strand", "plain MainThread"}


def test_the_runner_by_itself(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        from pytest_threaded import ConcurrentTestRunner
        def test_it():
            runner = ConcurrentTestRunner(2)
            assert ConcurrentTestRunner(9) is runner
            runner.dispatch("sum", sum, [1, 2])
            runner.dispatch("bad", int, "x")
            assert runner.wait("sum").value == 3
            assert isinstance(runner.wait("bad").exception, ValueError)
            with pytest.raises(KeyError): runner.wait("never")
            runner.shutdown()
            assert ConcurrentTestRunner() is not runner
        """
    )
    assert suite.plain("-p", "braid").exit == 0
