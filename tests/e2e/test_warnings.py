"""Warnings: the same ones, of the same classes, counted as often as in a serial run."""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite

SOURCES = """
import warnings, pytest
warnings.warn("at import")
def helper():
    warnings.warn("one place", stacklevel=2)
@pytest.fixture
def of_setup():
    warnings.warn("in the setup", FutureWarning)
    yield
    warnings.warn("in the teardown", ResourceWarning)
def test_1(of_setup): helper()
def test_2(): helper(); helper()
@pytest.mark.parametrize("n", range(5))
def test_3(n): warnings.warn(f"number {n % 2}")
class TestClass:
    @pytest.fixture(scope="class", autouse=True)
    def of_class(self): warnings.warn("of the class")
    def test_4(self): warnings.warn(DeprecationWarning("an object"))
def test_5():
    with pytest.warns(UserWarning): warnings.warn("expected")
    with pytest.deprecated_call(): warnings.warn("old", DeprecationWarning)
def test_6(recwarn): warnings.warn("recorded"); assert len(recwarn) == 1
def test_7(request): request.node.warn(pytest.PytestWarning("of the item"))
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_8(): warnings.warn("ignored", FutureWarning)
@pytest.mark.filterwarnings("error:fatal")
def test_9(): warnings.warn("fatal")
def test_10(): warnings.warn("lines\\nof\\ntext")
def test_11(): warnings.warn_explicit("explicit", UserWarning, "elsewhere.py", 77)
def test_13(): warnings.showwarning(UserWarning("no line"), UserWarning, __file__, None)
def test_12():
    async def forgotten(): pass
    forgotten()
    import gc; gc.collect()
"""


@pytest.mark.parametrize(
    "args",
    ["", "-W error", "-W ignore::UserWarning", "-W default -rA", "--color=yes"],
)
def test_warnings_are_as_serial(suite: Suite, args: str) -> None:
    suite.write(test_sources=SOURCES)
    suite.same(*args.split())


def test_without_pytests_plugin_python_shows_them(suite: Suite) -> None:
    suite.write(test_sources=SOURCES)
    suite.same("-p", "no:warnings", workers=1)  # once per place and process


def test_the_place_of_allocation_is_shown_where_it_is_traced(suite: Suite) -> None:
    suite.write(
        test_a="""
        import gc, pytest
        @pytest.mark.parametrize("n", range(3))
        def test_1(n):
            open(__file__)
            gc.collect()
        """
    )
    _, without = suite.same("-W", "always::ResourceWarning")
    assert "Enable tracemalloc to get traceback" in without.text
    suite.env["PYTHONTRACEMALLOC"] = "3"  # frames, none of pytest
    _, traced = suite.same("-W", "always::ResourceWarning")
    assert "Object allocated at:" in traced.text


@pytest.mark.parametrize(
    "filters",
    [
        "error",
        "error\n ignore:one place\n default::DeprecationWarning",
        "ignore\n always::FutureWarning",
        "once",
        "error::custom_warnings.Own",
    ],
)
def test_filters_of_the_configuration_are_as_serial(suite: Suite, filters: str) -> None:
    suite.ini(f"pythonpath = .\nfilterwarnings =\n {filters}")
    suite.write(
        custom_warnings="class Own(UserWarning): pass",
        test_sources=SOURCES.replace('warnings.warn("at import")', ""),
        test_own="""
        import warnings, custom_warnings
        def test_1(): warnings.warn("own", custom_warnings.Own)
        """,
    )
    suite.same()


def test_classes_of_the_project_keep_name_module_and_text(suite: Suite) -> None:
    suite.write(
        own="""
        import pytest
        class Plain(UserWarning): pass
        class Below(Plain): pass
        class Nested:
            class Inside(DeprecationWarning): pass
        class Odd(Warning):
            def __init__(self, code, *, detail):
                super().__init__(code, detail)
                self.detail = detail
            def __str__(self): return f"{self.args[0]}: {self.detail}"
        class OfPytest(pytest.PytestWarning): pass
        class Silent(UserWarning):
            def __str__(self): return ""
        """,
        test_own="""
        import warnings, own
        def test_1(): warnings.warn("plain", own.Plain)
        def test_2(): warnings.warn(own.Below("below", 2, None))
        def test_3(): warnings.warn(own.Nested.Inside("inside"))
        def test_4(): warnings.warn(own.Odd(7, detail="odd"))
        def test_5(): warnings.warn(own.OfPytest("of pytest"))
        def test_6(): warnings.warn(own.Silent("silent"))
        def test_7():
            class Local(ImportWarning): pass
            warnings.warn("local", Local)
        def test_8(): warnings.warn("text \\x00 \\u2603")
        """,
    )
    suite.ini("pythonpath = .")
    serial, braid = suite.same("-W", "always")
    names = {facts["category"] for facts in braid.told("warning")}
    assert names == {
        "Plain",
        "Below",
        "Inside",
        "Odd",
        "OfPytest",
        "Silent",
        "Local",
        "UserWarning",
    }
    assert len(serial.told("warning")) == 8


def test_a_text_that_is_no_unicode_is_kept(suite: Suite) -> None:
    suite.write(test_a="import warnings\ndef test_1(): warnings.warn('name \\udc80\\udcff')")
    _, braid = suite.same("-p", "no:terminal")
    assert braid.told("warning")[0]["text"] == "name \udc80\udcff"


def test_warnings_of_configuration_and_collection_are_shown_once(suite: Suite) -> None:
    suite.conftest(
        """
        import warnings, pytest
        warnings.warn("of the conftest")
        def pytest_configure(config):
            warnings.warn("of configure")
            config.issue_config_time_warning(pytest.PytestConfigWarning("issued"), 2)
        def pytest_sessionstart(session): warnings.warn("of sessionstart")
        def pytest_collection_modifyitems(items): warnings.warn("of modifyitems")
        """
    )
    suite.write(
        test_a="""
        import warnings, pytest
        warnings.warn("of the module")
        @pytest.mark.unknown
        def test_1(): pass
        class TestInit:
            def __init__(self): pass
            def test_2(self): pass
        def test_3(): pass
        """
    )
    suite.same()


def test_warnings_at_the_end_of_the_session_are_shown(suite: Suite) -> None:
    suite.conftest(
        """
        import warnings, pytest
        def pytest_sessionfinish(session):
            if not hasattr(session.config, "workerinput"): warnings.warn("of sessionfinish")
        def pytest_terminal_summary(): warnings.warn("of the summary")
        @pytest.fixture(scope="session", autouse=True)
        def up(): yield; warnings.warn("of the last teardown")
        """
    )
    suite.write(test_a="def test_1(): pass")
    suite.same()


def test_unraisable_and_thread_exceptions_are_warnings_as_serial(suite: Suite) -> None:
    suite.write(
        test_a="""
        import gc, threading
        class Bad:
            def __del__(self): raise ValueError("in del")
        def test_1(): Bad(); gc.collect()
        def test_2():
            def fail(): raise KeyError("in a thread")
            thread = threading.Thread(target=fail, name="mine")
            thread.start(); thread.join()
        def test_3(): pass
        """
    )
    serial, braid = suite.serial(), suite.braid()
    summaries = [
        sorted((f["category"], f["text"].splitlines()[0]) for f in run.told("warning"))
        for run in (serial, braid)
    ]
    assert [s.partition(" object")[0] for _, s in summaries[0]] == [
        s.partition(" object")[0] for _, s in summaries[1]
    ]
    assert serial.outcomes == braid.outcomes
    assert suite.serial("-W", "error").outcomes == suite.braid("-W", "error").outcomes


def test_a_warning_that_is_shown_once_per_process_is_not_lost(suite: Suite) -> None:
    suite.ini("filterwarnings = default")
    suite.write(
        helper="import warnings\ndef go(): warnings.warn('from one place')",
        test_a="import helper\ndef test_1(): helper.go()\ndef test_2(): helper.go()",
        test_b="import helper\ndef test_3(): helper.go()\ndef test_4(): helper.go()",
    )
    suite.same()
