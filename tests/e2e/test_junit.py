"""The junit file is the one that a serial run writes, times and names of workers aside."""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite

RECORDING = """
import logging, pytest
@pytest.fixture(scope="session", autouse=True)
def of_the_run(record_testsuite_property):
    record_testsuite_property("once", "each <session> & run")
    yield
    record_testsuite_property("at the end", 1)
@pytest.fixture
def attribute(record_xml_attribute):
    record_xml_attribute("from", "a fixture")
    yield
    record_xml_attribute("until", "the end")
def test_attribute(attribute, record_xml_attribute): record_xml_attribute("odd", "\\x00 ä")
def test_failing_attribute(attribute): assert 0
def test_property(record_property):
    record_property("name", "value"); record_property("name", ["again"])
def test_own_of_the_run(record_testsuite_property): record_testsuite_property("own", None)
@pytest.fixture
def twice(record_xml_attribute):
    record_xml_attribute("twice", 1)
    yield
    raise ValueError
def test_twice(twice): print("out"); logging.getLogger().error("logged"); assert 0
def test_prints(): print("out"); logging.getLogger().error("logged")
@pytest.mark.skip(reason="because")
def test_skips(): pass
@pytest.mark.xfail(reason="known")
def test_xfails(): assert 0
"""


@pytest.mark.parametrize("family", ["xunit1", "xunit2", "legacy"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_tests_record_is_in_the_file(suite: Suite, family: str, workers: int) -> None:
    suite.write(test_recording=RECORDING)
    suite.same("-o", f"junit_family={family}", workers=workers)


@pytest.mark.parametrize(
    "options",
    [
        "junit_logging=all",
        "junit_logging=system-out junit_log_passing_tests=false",
        "junit_suite_name=mine junit_duration_report=call",
    ],
)
def test_options_of_the_file_are_as_serial(suite: Suite, options: str) -> None:
    suite.write(test_recording=RECORDING)
    words = [word for option in options.split() for word in ("-o", option)]
    suite.same("--junit-prefix=pre", *words)


def test_without_a_file_nothing_is_recorded_and_nothing_fails(suite: Suite) -> None:
    suite.write(test_recording=RECORDING)
    suite.writes_junit = False
    suite.same()


def test_collection_errors_are_in_the_file(suite: Suite) -> None:
    suite.write(
        test_bad="import nowhere",
        test_skipped="import pytest; pytest.skip('x', allow_module_level=True)",
        test_good="def test_1(): pass",
    )
    suite.same("--continue-on-collection-errors")


def test_workers_write_no_file_of_their_own(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass")
    before = {*suite.base.rglob("*.xml"), *suite.path.rglob("*.xml")}
    suite.braid()
    assert len({*suite.base.rglob("*.xml"), *suite.path.rglob("*.xml")} - before) == 1


def test_what_tests_record_that_run_at_once_is_with_each_of_them(suite: Suite) -> None:
    suite.write(
        test_recording="""
        import pytest, threading
        @pytest.fixture(scope="session")
        def together(request):
            return threading.Barrier(3)
        @pytest.mark.parametrize("n", range(3))
        def test_it(n, together, request, record_xml_attribute, record_property):
            if request.config.getoption("threads", None):
                together.wait(20)
            record_xml_attribute("number", n)
            if request.config.getoption("threads", None):
                together.wait(20)
            record_property("number", n)
            record_xml_attribute("again", n)
        """
    )
    suite.same(ours=("--threads=3",), workers=1)
