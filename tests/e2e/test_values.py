"""Reports may carry anything: what can be sent is, the rest goes as text, and none is lost."""

from __future__ import annotations

import json

import pytest

from tests.e2e.serial import Run, Suite

VALUES = {
    "None": "None",
    "True": "True",
    "'text'": "'text'",
    "b'\\x00\\xff'": "b'\\x00\\xff'",
    "1.5": "1.5",
    "float('inf')": "inf",
    "2**63 - 1": "9223372036854775807",
    "2**64": "18446744073709551616",
    "-2**70": "-1180591620717411303424",
    "10**100": str(10**100),
    "1+2j": "(1+2j)",
    "(1, (2, [3]))": "(1, (2, [3]))",
    "{1}": "{1}",
    "frozenset({1})": "frozenset({1})",
    "{'k': {1: (2,), (3, 4): None}}": "{'k': {1: (2,), (3, 4): None}}",
    "'\\udcff lone'": "'\\udcff lone'",
    "['\\ud800', {'\\udfff': 1}]": "['\\ud800', {'\\udfff': 1}]",
    "{b'k': 1.0, None: 2, True: 3}": "{b'k': 1.0, None: 2, True: 3}",
    "''": "''",
    "[]": "[]",
}
"""Expressions of values that arrive as they are, and what ``repr`` then says."""

ODD = {
    "decimal.Decimal('1.50')": "'1.50'",
    "fractions.Fraction(1, 3)": "'1/3'",
    "pathlib.PurePosixPath('/a/b')": "'/a/b'",
    "datetime.date(2020, 1, 2)": "'2020-01-02'",
    "Enum.MEMBER": "1",
    "Text('sub')": "'sub'",
    "Number(7)": "7",
    "Pair(1, 2)": "(1, 2)",
    "collections.OrderedDict(a=1)": "{'a': 1}",
    "collections.Counter('aa')": "{'a': 2}",
    "range(3)": "'range(0, 3)'",
    "bytearray(b'ab')": "b'ab'",
    "Bad()": "'<Bad: str() raised RuntimeError>'",
    "recursive": "[1, '<recursive list>']",
    "ValueError('x')": "'x'",
    "ValueError": "\"<class 'ValueError'>\"",
    "uuid.UUID(int=0)": "'00000000-0000-0000-0000-000000000000'",
    "[object, Bad()]": "[\"<class 'object'>\", '<Bad: str() raised RuntimeError>']",
}
"""Expressions of values that arrive as the nearest builtin type or as text."""

SUITE = """
import collections, datetime, decimal, enum, fractions, pathlib, uuid
import pytest
class Enum(enum.IntEnum): MEMBER = 1
class Text(str): pass
class Number(int): pass
Pair = collections.namedtuple("Pair", "a b")
class Bad:
    def __str__(self): raise RuntimeError
    __repr__ = __str__
recursive = [1]
recursive.append(recursive)
EXPRESSIONS = {expressions!r}
@pytest.mark.parametrize("n", range(len(EXPRESSIONS)))
def test_value(n, record_property):
    record_property(str(n), eval(EXPRESSIONS[n]))
"""

ARRIVED = """
import json, os
class Hooks:
    seen = {}
    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.seen.update((key, repr(value)) for key, value in report.user_properties)
    def pytest_sessionfinish(self):
        with open("seen.json", "w") as file: json.dump(self.seen, file)
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Hooks())
"""


def arrived(suite: Suite, expressions: list[str]) -> tuple[Run, list[str]]:
    """The run, and ``repr`` of each value as reporting plugins see it."""
    suite.write(test_values=SUITE.replace("{expressions!r}", repr(expressions)))
    suite.conftest(ARRIVED)
    suite.writes_junit = False  # it would ask each value for its text
    run = suite.braid()
    seen = json.loads((suite.path / "seen.json").read_text())
    return run, [seen[str(n)] for n in range(len(expressions))]


@pytest.mark.parametrize("values", [VALUES, ODD], ids=["plain", "odd"])
def test_properties_arrive_with_their_values(suite: Suite, values: dict[str, str]) -> None:
    run, seen = arrived(suite, [*values])
    assert dict(zip(values, seen, strict=True)) == values
    assert set(run.outcomes.values()) == {"setup passed, call passed, teardown passed"}
    assert run.exit == 0


def test_attributes_that_plugins_add_to_reports_arrive(suite: Suite) -> None:
    suite.conftest(
        """
        import decimal, pytest
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            report.added = {"text": [1, (2, 3)], "odd": decimal.Decimal("2.5")}
            report.extras = [{"name": "x", "content": "<b>"}]
            return report
        def pytest_runtest_logreport(report):
            assert report.added["text"] == [1, (2, 3)]
            assert str(report.added["odd"]) == "2.5"
            assert report.extras == [{"name": "x", "content": "<b>"}]
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): assert 0")
    assert suite.braid().exit == 1


def test_a_plugin_may_send_its_reports_its_own_way(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        class Special(pytest.TestReport): pass
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when != "call": return report
            data = report._to_json()
            special = Special._from_json(data)
            special.secret = object()
            return special
        def pytest_report_to_serializable(config, report):
            if isinstance(report, Special):
                data = report._to_json()
                data.pop("secret")
                return {"special": data}
        def pytest_report_from_serializable(config, data):
            if "special" in data:
                report = Special._from_json(data["special"])
                report.secret = "made again"
                return report
        def pytest_runtest_logreport(report):
            if report.when == "call":
                assert type(report) is Special
                with open("secrets", "a") as file: print(report.secret, file=file)
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): assert 0")
    run = suite.braid()
    assert run.exit == 1
    assert (suite.path / "secrets").read_text().count("made again") == 2


def test_a_failure_that_cannot_be_serialised_is_reported_as_text(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        class Half:
            reprtraceback = reprcrash = "of no known type"
            sections = ()
            def toterminal(self, tw): tw.line("half a representation")
            def __str__(self): return "half a representation"
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.excinfo is not None: report.longrepr = Half()
            return report
        """
    )
    suite.write(test_a="def test_1(): assert 0\ndef test_2(): pass")
    serial, braid = suite.serial("-p", "no:junitxml"), suite.braid("-p", "no:junitxml")
    assert serial.outcomes == braid.outcomes
    assert "half a representation" in braid.text
    assert braid.exit == serial.exit == 1


def test_sections_and_texts_of_any_kind_arrive(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        def pytest_runtest_setup(item):
            item.add_report_section("setup", "empty", "")
            odd = "\\x1b[31mred\\x1b[0m \\u2028 \\r\\n end"
            item.add_report_section("setup", "odd \\x00 \\u2603", odd)
        """
    )
    suite.write(
        test_a="""
        import pytest
        def test_1(): assert 0, "\\u0000\\x07\\x1b[1m bold"
        def test_2(): raise Exception("multi\\nline\\r\\n")
        def test_3(): pytest.skip("skip \\u2603 \\x01")
        def test_4(): pytest.xfail("")
        def test_5(): raise AssertionError
        def test_6():
            class Unprintable(Exception):
                def __str__(self): raise ValueError
                __repr__ = __str__
            raise Unprintable
        def test_7():
            local = "x" * 100_000
            assert local == "y" * 100_000
        """
    )
    suite.same("-l")


def test_workers_return_what_plugins_return(suite: Suite) -> None:
    suite.conftest(
        """
        import decimal
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workeroutput"):
                session.config.workeroutput.update(
                    blob=b"\\x00" * 3_000_000, odd=decimal.Decimal(1), nested={"a": [(1,)]})
        def pytest_testnodedown(node, error):
            output = node.workeroutput
            assert len(output["blob"]) == 3_000_000
            assert str(output["odd"]) == "1"
            assert output["nested"] == {"a": [(1,)]}
            with open("down", "a") as file: print(node.gateway.id, file=file)
        """
    )
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_1(n): pass"
    )
    assert suite.braid().exit == 0
    assert sorted((suite.path / "down").read_text().split()) == ["gw0", "gw1"]
