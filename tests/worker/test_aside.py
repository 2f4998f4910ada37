"""Tests that touch what the process shares step aside; the reason names it and its place."""

from __future__ import annotations

import unittest.mock  # noqa: F401 -- what an inner run imports, it takes along when it ends

import pytest

from pytest_braid.seam.closures import definitions
from pytest_braid.worker import aside


def reasons(pytester: pytest.Pytester, source: str, *options: str) -> dict[str, str | None]:
    pytester.makepyfile(test_it=source)
    items, _ = pytester.inline_genitems(*options)
    return {item.name: aside.reason(item) for item in items}


def only(pytester: pytest.Pytester, source: str, *options: str) -> str | None:
    (reason,) = reasons(pytester, source, *options).values()
    return reason


SAFE = {
    "trivial": "def test(): assert 1 + 1 == 2",
    "fixtures": "def test(tmp_path, capsys, caplog, recwarn, request, cache): pass",
    "output": """
        import contextlib, io, sys
        def test():
            sys.stdout = io.StringIO()
            with contextlib.redirect_stderr(io.StringIO()):
                print("x")
        """,
    "warnings": """
        import pytest, warnings
        def test():
            with pytest.warns(UserWarning), warnings.catch_warnings():
                warnings.simplefilter("error")
        """,
    "environment-read": """
        import os
        def test(): assert os.environ.get("x") or os.environ["PATH"] or dict(os.environ, a="b")
        """,
    "child-caught": """
        import subprocess, sys
        def test():
            subprocess.run([sys.executable], capture_output=True)
            subprocess.Popen("x", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            subprocess.check_output("x", stderr=subprocess.DEVNULL)
        """,
    "mock-objects": """
        from unittest import mock
        def test(): assert mock.Mock(return_value=mock.sentinel.x)() is not mock.ANY
        """,
    "own-state": """
        values = []
        class Shared: count = 0
        def test():
            global count
            count = 1
            values.append(1)
            Shared.count += 1
        """,
    "own-instance": """
        class Test:
            def setup_method(self): self.x = 1
            def test(self): self.y = self.x
        """,
    "recursion": """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def test(): assert even(2)
        """,
    "case": """
        import unittest
        class Test(unittest.TestCase):
            def setUp(self): self.x = 1
            def test(self): self.assertEqual(self.x, 1)
        """,
    "xunit-classes": """
        class Test:
            @classmethod
            def setup_class(cls): cls.x = 1
            def test(self): assert self.x
        """,
    "handwritten-path-module": """
        class os:
            @staticmethod
            def chdir(x): return x
        def test(): os.chdir("x")
        """,
    "own-descriptors": """
        import os
        def test():
            reading, writing = os.pipe()
            os.write(writing, b"x" * 2)
            os.read(reading, 1)
            os.close(writing)
        """,
    "threads": """
        import threading, random
        def test():
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()
            assert random.random() < 1 and random.Random(1).random() < 1
        """,
    "mark-for-more": """
        import pytest
        @pytest.mark.parallel_threads_limit(8)
        def test(): pass
        """,
}


@pytest.mark.parametrize("source", SAFE.values(), ids=SAFE)
def test_what_each_test_has_for_itself_is_no_reason(pytester: pytest.Pytester, source: str) -> None:
    assert only(pytester, source) is None


CODE = {
    "os.chdir (test_it.py:2)": "import os\ndef test(tmp_path): os.chdir(tmp_path)",
    "os.write (test_it.py:2)": "import os\ndef test(): os.write(1, b'x')",
    "os.close (test_it.py:2)": "import os\ndef test(): os.close(2)",
    "os.environ (test_it.py:3)": "from os import environ as e\ndef test():\n  e['x'] = 'y'",
    "os.environ.pop (test_it.py:2)": "import os\ndef test(): os.environ.pop('x', None)",
    "os.environ (test_it.py:3)\n": "def test():\n  import os\n  del os.environ['x']",
    "sys.path.insert (test_it.py:2)": "import sys\ndef test(): sys.path.insert(0, 'x')",
    "sys.modules (test_it.py:2)": "import sys\ndef test(): sys.modules['x'] = None",
    "sys.excepthook = (test_it.py:2)": "import sys\ndef test(): sys.excepthook = None",
    "subprocess.run (test_it.py:2)": "import subprocess\ndef test(): subprocess.run(['x'])",
    "subprocess.run (test_it.py:3)": (
        "import subprocess as s\ndef test():\n  s.run(['x'], stdout=-1, stderr=-1, preexec_fn=int)"
    ),
    "multiprocessing.context.Process (test_it.py:2)": (
        "from multiprocessing import Process\ndef test(): Process()"
    ),
    "signal.alarm (test_it.py:3)": "def test():\n  import signal\n  signal.alarm(1)",
    "unittest.mock.patch (test_it.py:2)": (
        "from unittest import mock\ndef test(): mock.patch('os.sep').start()"
    ),
    "unittest.mock.patch around the test": (
        "from unittest.mock import patch\n@patch('os.sep', 'x')\ndef test(): pass"
    ),
    "unittest.mock.patch around the test\n": (
        "from unittest.mock import patch\n@patch.dict('os.environ', x='x')\ndef test(): pass"
    ),
    "random.seed (test_it.py:2)": "from random import seed\ndef test(): seed(1)",
    "pytest.MonkeyPatch (test_it.py:3)": (
        "import pytest\ndef test():\n  with pytest.MonkeyPatch.context() as m: m.chdir('x')"
    ),
    "LogCaptureFixture.set_level (test_it.py:1)": "def test(caplog): caplog.set_level(1)",
    "LogCaptureFixture.at_level in quiet() (test_it.py:1)": (
        "def quiet(caplog): return caplog.at_level(1)\ndef test(caplog): quiet(caplog)"
    ),
    "Logger.setLevel (test_it.py:2)": "import logging\ndef test(): logging.getLogger().setLevel(1)",
    "Logger.disabled = (test_it.py:3)": (
        "import logging\nlog = logging.getLogger('x')\ndef test(): log.disabled = True"
    ),
    "builtins.breakpoint (test_it.py:1)": "def test(): breakpoint()",
    "fixture monkeypatch (test_it.py:1)": (
        "def test(request): request.getfixturevalue('monkeypatch')"
    ),
    "string.digits = (test_it.py:2)": "import string\ndef test(): string.digits = ''",
    "Formatter.x = (test_it.py:2)": "import string\ndef test(): setattr(string.Formatter, 'x', 1)",
}


@pytest.mark.parametrize(("reason", "source"), CODE.items(), ids=[key.strip() for key in CODE])
def test_code_that_changes_the_process_is_a_reason(
    pytester: pytest.Pytester, reason: str, source: str
) -> None:
    found = only(pytester, source)
    assert found is not None
    assert found.startswith(reason.strip())


FOUND_THROUGH = {
    "a helper": (
        "def helper(): os.chdir('x')\ndef test(): helper()",
        "os.chdir in helper() (test_it.py:2)",
    ),
    "helpers of helpers": (
        "def far(): os.chdir('x')\ndef near(): far()\ndef test(): near()",
        "os.chdir in far() (test_it.py:2)",
    ),
    "a helper that is handed on": (
        "def far(): os.chdir('x')\ndef test(): print(far)",
        "os.chdir in far() (test_it.py:2)",
    ),
    "a method of the class": (
        "class Test:\n  def go(self): os.chdir('x')\n  def test(self): self.go()",
        "os.chdir in go() (test_it.py:3)",
    ),
    "a method of the class above": (
        (
            "class A:\n  def go(self): os.chdir('x')\n"
            "class Test(A):\n  def go(self): super().go()\n  def test(self): self.go()"
        ),
        "os.chdir in go() (test_it.py:3)",
    ),
    "a property": (
        "class Test:\n  @property\n  def here(self): os.chdir('x')\n  def test(self): self.here",
        "os.chdir in here() (test_it.py:4)",
    ),
    "an instance": (
        "class A:\n  def __init__(self): os.chdir('x')\ndef test(): A()",
        "os.chdir in __init__() (test_it.py:3)",
    ),
    "a method of what a fixture gives": (
        (
            "class A:\n  def go(self): os.chdir('x')\n"
            "@pytest.fixture\ndef a(): return A()\ndef test(a): a.go()"
        ),
        "os.chdir in go() (test_it.py:3)",
    ),
    "a context manager": (
        (
            "@contextlib.contextmanager\ndef there():\n  os.chdir('x')\n  yield\n"
            "def test():\n  with there(): pass"
        ),
        "os.chdir in there() (test_it.py:4)",
    ),
    "a decorator": (
        (
            "def there(f):\n  @functools.wraps(f)\n  def inner():\n    os.chdir('x')\n    f()\n"
            "  return inner\n@there\ndef test(): pass"
        ),
        "os.chdir (test_it.py:5)",
    ),
    "a partial": (
        "def go(x): os.chdir(x)\nthere = functools.partial(go, 'x')\ndef test(): there()",
        "os.chdir in go() (test_it.py:2)",
    ),
    "setup_method": (
        "class Test:\n  def setup_method(self): os.chdir('x')\n  def test(self): pass",
        "os.chdir in setup_method() (test_it.py:3)",
    ),
    "setup_module": (
        "def setup_module(): os.chdir('x')\ndef test(): pass",
        "os.chdir in setup_module() (test_it.py:2)",
    ),
    "run of a case": (
        "class Test(unittest.TestCase):\n  def run(self, _): os.chdir('x')\n  def test(self): pass",
        "os.chdir (test_it.py:3)",
    ),
    "setUp": (
        "class Test(unittest.TestCase):\n  def setUp(self): os.chdir('x')\n  def test(self): pass",
        "os.chdir (test_it.py:3)",
    ),
    "a fixture": (
        "@pytest.fixture\ndef there(): os.chdir('x')\ndef test(there): pass",
        "os.chdir in fixture there (test_it.py:3)",
    ),
    "an autouse fixture": (
        "@pytest.fixture(autouse=True)\ndef there(): os.chdir('x')\ndef test(): pass",
        "os.chdir in fixture there (test_it.py:3)",
    ),
    "a fixture of a fixture": (
        (
            "@pytest.fixture\ndef a(monkeypatch): pass\n@pytest.fixture\ndef b(a): pass\n"
            "def test(b): pass"
        ),
        "fixture monkeypatch",
    ),
    "a fixture named by usefixtures": (
        "@pytest.mark.usefixtures('capfd')\ndef test(): pass",
        "fixture capfd",
    ),
    "functions that name each other": (
        "def a(): b()\ndef b():\n  a()\n  c()\ndef c(): os.chdir('x')\ndef test(): a()",
        "os.chdir in c() (test_it.py:6)",
    ),
    "a function that asks not to be": (
        "def old(): pass\nold.__thread_safe__ = False\ndef test(): old()",
        "__thread_safe__ = False in old() (test_it.py:2)",
    ),
}


@pytest.mark.parametrize(("source", "reason"), FOUND_THROUGH.values(), ids=FOUND_THROUGH)
def test_a_reason_is_found_wherever_code_of_the_project_leads(
    pytester: pytest.Pytester, source: str, reason: str
) -> None:
    imports = "import contextlib, functools, os, pytest, unittest\n"
    assert only(pytester, imports + source) == reason


def test_what_a_test_has_in_common_with_an_unsafe_one_is_no_reason(
    pytester: pytest.Pytester,
) -> None:
    found = reasons(
        pytester,
        """
        import os
        def shared(): pass
        def bad(): shared(); os.chdir("x")
        def loop(n): again(n); bad()
        def again(n): loop(n)
        def test_1(): shared(); bad()
        def test_2(): shared()
        def test_3(): again(1)
        def test_4(): loop(1)
        """,
    )
    where = "os.chdir in bad() (test_it.py:3)"
    assert found == {"test_1": where, "test_2": None, "test_3": where, "test_4": where}


def test_a_definition_counts_and_not_its_name(pytester: pytest.Pytester) -> None:
    assert (
        only(
            pytester,
            """
            import pytest
            @pytest.fixture
            def monkeypatch(): return 1
            def test(monkeypatch): pass
            """,
        )
        is None
    )


def test_a_definition_that_asks_for_what_it_overrides_counts_with_it(
    pytester: pytest.Pytester,
) -> None:
    found = only(
        pytester,
        """
        import pytest
        @pytest.fixture
        def monkeypatch(monkeypatch): return monkeypatch
        def test(monkeypatch): pass
        """,
    )
    assert found == "fixture monkeypatch"


KINDS = {
    "mark thread_unsafe": "@pytest.mark.thread_unsafe\ndef test(): pass",
    "mark thread_unsafe: old": "@pytest.mark.thread_unsafe(reason='old')\ndef test(): pass",
    "mark thread_unsafe: new": "@pytest.mark.thread_unsafe('new')\ndef test(): pass",
    "mark parallel_threads(1)": "@pytest.mark.parallel_threads(1)\nclass Test:\n  def test(_): 1",
    "mark parallel_threads_limit(1)": "@pytest.mark.parallel_threads_limit(1)\ndef test(): pass",
    "mark force_parallel_threads(1)": (
        "pytestmark = pytest.mark.force_parallel_threads(1)\ndef test(): pass"
    ),
    "async test": "async def test(): pass",
    "async fixture slow": "@pytest.fixture\nasync def slow(): pass\ndef test(slow): pass",
    "class fixture Test.setUpClass": (
        "class Test(unittest.TestCase):\n  @classmethod\n  def setUpClass(cls): pass\n"
        "  def test(self): pass"
    ),
    "module fixture setUpModule": (
        "def setUpModule(): pass\nclass Test(unittest.TestCase):\n  def test(self): pass"
    ),
    "hypothesis test (its deadlines would measure other tests, too)": (
        "from hypothesis import given, strategies\n@given(strategies.integers())\ndef test(x): pass"
    ),
}


@pytest.mark.parametrize(("reason", "source"), KINDS.items(), ids=KINDS)
def test_marks_and_kinds_of_tests_are_reasons(
    pytester: pytest.Pytester, reason: str, source: str
) -> None:
    assert only(pytester, "import pytest, unittest\n" + source, "--strict-markers") == reason


def test_a_doctest_steps_aside(pytester: pytest.Pytester) -> None:
    source = '"""\n>>> 1\n1\n"""'
    assert only(pytester, source, "--doctest-modules") == "doctest"


def test_an_item_that_is_no_function_steps_aside(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        class Odd(pytest.Item):
            def runtest(self): pass
        def pytest_pycollect_makeitem(collector, name):
            return Odd.from_parent(collector, name=name) if name == "test" else None
        """
    )
    found = only(pytester, "def test(): pass")
    assert found == "an item of class Odd, which runs in a way of its own"


def test_the_ini_file_names_more_fixtures_and_functions(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        """
        [pytest]
        thread_unsafe_fixtures =
            database
        thread_unsafe_functions =
            string.capwords
            textwrap.*
        """
    )
    found = reasons(
        pytester,
        """
        import pytest, string, textwrap
        @pytest.fixture
        def database(): pass
        def test_1(database): pass
        def test_2(): string.capwords("x")
        def test_3(): textwrap.dedent("x")
        def test_4(): pass
        """,
    )
    assert found == {
        "test_1": "fixture database",
        "test_2": "string.capwords (test_it.py:5)",
        "test_3": "textwrap.dedent (test_it.py:6)",
        "test_4": None,
    }


SESSION_WIDE = """
import os, pytest
@pytest.fixture(scope="session", autouse=True)
def there(): os.chdir("x")
"""


def test_a_session_fixture_of_all_tests_is_no_reason(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(SESSION_WIDE)
    assert reasons(pytester, "def test_1(): pass\ndef test_2(): pass") == dict.fromkeys(
        ("test_1", "test_2")
    )


def test_a_session_fixture_of_some_tests_is_a_reason(pytester: pytest.Pytester) -> None:
    pytester.mkdir("below").joinpath("conftest.py").write_text(SESSION_WIDE)
    pytester.path.joinpath("below", "test_below.py").write_text("def test_1(): pass")
    found = reasons(pytester, "def test_2(): pass")
    assert found == {"test_1": "os.chdir in fixture there (below/conftest.py:4)", "test_2": None}


def test_a_fixture_that_is_asked_for_later_can_be_judged_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test(capfd, capsys): pass")
    items, _ = pytester.inline_genitems()
    found = {each.argname: aside.fixture_reason(each, items[0]) for each in definitions(items[0])}
    assert (found["capfd"], found["capsys"]) == ("fixture capfd", None)


def test_no_code_of_the_project_is_run_to_find_out(pytester: pytest.Pytester) -> None:
    found = only(
        pytester,
        """
        class Proxy:
            def __getattribute__(self, name): raise RuntimeError(name)
            def __eq__(self, other): raise RuntimeError
            def __bool__(self): raise RuntimeError
            __hash__ = None
        _proxy = Proxy()
        def test():
            _proxy.x = _proxy.y(_proxy)
        """,
    )
    assert found is None
