"""Every kind of test that pytest runs, runs in workers, with the same reports."""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite


def test_doctests_of_modules_and_texts(suite: Suite) -> None:
    suite.write(
        code='''
        """
        >>> 1 + 1
        2
        >>> print("a failing one")
        another
        """
        def documented():
            """
            >>> documented()
            7
            >>> raise ValueError("oops")
            """
            return 7
        def undocumented(): pass
        class Class:
            """
            >>> getfixture("tmp_path").is_dir()
            True
            >>> 1 / 0  # doctest: +SKIP
            """
        '''
    )
    suite.path.joinpath("readme.txt").write_text(">>> 3\n3\n>>> 4\n5\n", encoding="utf-8")
    suite.path.joinpath("test_more.txt").write_text(">>> [1, 2]\n[1, 3]\n", encoding="utf-8")
    suite.same("--doctest-modules", "--doctest-glob=*.txt", "--doctest-report=udiff")


def test_unittest_classes_with_class_and_module_fixtures(suite: Suite) -> None:
    suite.write(
        test_unit="""
        import sys, unittest

        def setUpModule(): print("set up module")
        def tearDownModule(): print("tear down module")

        class TestFixtures(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.seen = []
                cls.addClassCleanup(print, "class cleanup")
            @classmethod
            def tearDownClass(cls):
                print("tear down class", len(cls.seen) > 0)
            def setUp(self):
                self.addCleanup(print, "cleanup")
            def test_passes(self): self.seen.append(1)
            def test_fails(self):
                self.seen.append(2)
                self.assertEqual([1, 2], [1, 3], "message")
            def test_errors(self):
                self.seen.append(3)
                raise ValueError
            def test_skips(self): self.seen.append(4); self.skipTest("reason")
            @unittest.skip("marked")
            def test_marked(self): pass
            @unittest.expectedFailure
            def test_expected(self): self.seen.append(5); assert 0
            @unittest.expectedFailure
            def test_unexpected(self): self.seen.append(6)

        class TestBadClass(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise RuntimeError("no class")
            def test_1(self): pass
            def test_2(self): pass

        class TestBadEnd(unittest.TestCase):
            @classmethod
            def tearDownClass(cls): raise RuntimeError("no end")
            def test_1(self): pass

        @unittest.skip("the whole class")
        class TestSkipped(unittest.TestCase):
            def test_1(self): pass

        class TestAsync(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self): print("async setup")
            async def test_passes(self): pass
            async def test_fails(self): self.assertIn(1, [])
        """,
        test_xunit="""
        def setup_module(module): print("module up")
        def teardown_module(module): print("module down")
        def setup_function(function): print("function up", function.__name__)
        class TestXunit:
            @classmethod
            def setup_class(cls): cls.value = 1
            def setup_method(self, method): self.name = method.__name__
            def teardown_method(self): print("method down", self.name)
            def test_1(self): assert self.value == 2
            def test_2(self): assert self.name == "test_2"
        def test_alone(): assert 0
        """,
    )
    suite.same("-rA", workers=1)  # the first and the last test show the class's own output
    serial, braid = suite.serial(), suite.braid()
    assert serial.outcomes == braid.outcomes


def test_subtests_of_unittest(suite: Suite) -> None:
    suite.write(
        test_sub="""
        import unittest
        class Test(unittest.TestCase):
            def test_some(self):
                for n in range(4):
                    with self.subTest("named", n=n):
                        if n == 3:
                            self.skipTest("three")
                        self.assertEqual(n % 2, 0)
            def test_all(self):
                for n in range(2):
                    with self.subTest(n=n):
                        pass
            def test_and_more(self):
                with self.subTest():
                    self.fail("inside")
                self.fail("outside")
        """
    )
    # With capture the serial run's own progress marks end up in the tests' output.
    suite.same("-rA", "-s")


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest 9 brought the fixture")
@pytest.mark.parametrize("args", ["-rA", "-v --color=yes", "-q"])
def test_subtests_of_the_fixture(suite: Suite, args: str) -> None:
    suite.write(
        test_sub="""
        import pytest
        @pytest.fixture
        def noisy(): print("before"); yield; print("after")
        def test_some(subtests, noisy):
            for n in range(4):
                with subtests.test("named", n=n, o=object, t=(1, {2})):
                    print("in", n)
                    if n == 3:
                        pytest.skip("three")
                    if n == 2:
                        pytest.xfail("two")
                    assert n % 2 == 0
            print("the rest")
        def test_all(subtests):
            with subtests.test(): pass
        def test_and_more(subtests):
            with subtests.test("inside"): assert [1] == [2]
            assert 0, "outside"
        """
    )
    suite.same(*args.split())


def test_files_and_items_of_a_plugin(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest

        def pytest_collect_file(parent, file_path):
            if file_path.suffix == ".check":
                return CheckFile.from_parent(parent, path=file_path)

        class CheckFile(pytest.File):
            def collect(self):
                for line in self.path.read_text(encoding="utf-8").splitlines():
                    name, *words = line.split()
                    yield CheckItem.from_parent(self, name=name, words=words)

        class CheckItem(pytest.Item):
            def __init__(self, *, words, **rest):
                super().__init__(**rest)
                self.words = words
                if "marked" in words:
                    self.add_marker(pytest.mark.xfail(reason="of the item"))
            def setup(self): print("setting up", self.name)
            def runtest(self):
                self.user_properties.append(("words", self.words))
                self.add_report_section("call", "words", " ".join(self.words))
                if "bad" in self.words:
                    raise CheckError(self.words)
            def repr_failure(self, excinfo):
                if isinstance(excinfo.value, CheckError):
                    return "it was\\nbad"
                return super().repr_failure(excinfo)
            def reportinfo(self): return self.path, None, f"check: {self.name}"

        class CheckError(Exception): pass
        """
    )
    suite.path.joinpath("a.check").write_text(
        "one good\ntwo bad\nthree bad marked\nfour good marked\nfünf bad\n", encoding="utf-8"
    )
    suite.write(test_python="def test_1(): pass")
    suite.same("-rA")


def test_a_failure_may_be_anything_that_has_a_text(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        class Own:
            def __str__(self): return "of its own"
            def toterminal(self, tw): tw.line("of its own")
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call":
                report.longrepr = {"own": Own(), "text": "text", "lines": "a\\nb"}[item.name[5:]]
            return report
        """
    )
    suite.write(
        test_a="def test_own(): assert 0\ndef test_text(): assert 0\ndef test_lines(): assert 0"
    )
    suite.same()


def test_node_ids_that_are_not_ascii_or_contain_separators(suite: Suite) -> None:
    suite.ini("disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true\n")
    suite.path.joinpath("test_ünïcode.py").write_text(
        """
import pytest
@pytest.mark.parametrize("text", ["grün", "日本", "a::b", "c[d]", "e/f.py", "@g", " ", "", "\\n"])
def test_ä(text): assert text != "日本"
class TestÖ:
    @pytest.mark.parametrize("n", [1, 2], ids=["x" * 300, "-"])
    def test_ß(self, n): assert n == 1
""",
        encoding="utf-8",
    )
    suite.same("-rA")


def test_duplicate_node_ids_are_different_tests(suite: Suite) -> None:
    suite.write(
        test_twice="""
        import pytest
        @pytest.fixture
        def fresh(): return []
        def test_same(fresh): assert not fresh; fresh.append(1)
        def test_fails(fresh): assert fresh
        """
    )
    suite.conftest(
        """
        def pytest_collection_modifyitems(items):
            items.extend(items[:])
        """
    )
    suite.same("-rA")
    suite.same("-rA", workers=1)
    suite.same("-rA", ours=("--threads=4",), workers=1)


def test_the_same_file_given_twice(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass\ndef test_2(): assert 0")
    suite.same("test_a.py", "test_a.py", "--keep-duplicates")


def test_parametrized_fixtures_of_every_scope(suite: Suite) -> None:
    suite.write(
        test_scopes="""
        import pytest
        for scope in ("session", "package", "module", "class", "function"):
            def fixture(request):
                yield f"{request.scope}-{request.param}"
            decorate = pytest.fixture(scope=scope, params=[1, 2], name=f"of_{scope}")
            globals()[scope] = decorate(fixture)
        def test_all(of_session, of_package, of_module, of_class, of_function): pass
        class TestClass:
            def test_1(self, of_class, of_module): assert of_class != "class-2"
            def test_2(self, of_class, of_session): pass
        @pytest.mark.parametrize("of_module", ["x", "y"], indirect=True)
        def test_indirect(of_module): assert of_module in ("module-x", "module-y")
        """
    )
    serial, _ = suite.same()
    assert len(serial.outcomes) > 30


def test_package_fixtures_of_nested_conftests(suite: Suite) -> None:
    for folder in ("", "one", "one/deep", "two"):
        path = suite.path / folder
        path.mkdir(exist_ok=True)
        (path / "__init__.py").touch()
        name = folder.replace("/", "_") or "root"
        (path / "conftest.py").write_text(
            f"import pytest\n@pytest.fixture(scope='package', autouse=True)\n"
            f"def pack_{name}(): yield\n"
            f"@pytest.fixture\ndef where(): return {folder!r}\n"
        )
        (path / f"test_{name}.py").write_text(
            f"def test_here(where): assert where == {folder!r}\n"
            "def test_names(request): assert 0, sorted(request.fixturenames)\n"
        )
    suite.same()


def test_temporary_directories_are_each_tests_own(suite: Suite) -> None:
    suite.write(
        test_temporary="""
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(tmp_path, tmp_path_factory, n):
            assert not any(tmp_path.iterdir())
            (tmp_path / "file").touch()
            other = tmp_path_factory.mktemp("same")
            assert not any(other.iterdir())
            (other / "file").touch()
            assert tmp_path.parent == tmp_path_factory.getbasetemp()
            if n % 5 == 0:
                pytest.fail(str(tmp_path), pytrace=False)
        def test_again(tmp_path): assert not any(tmp_path.iterdir())
        """
    )
    suite.same()


def test_a_test_may_change_what_is_of_the_process(suite: Suite) -> None:
    suite.write(
        test_process="""
        import os, sys, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(n, tmp_path, monkeypatch):
            assert "LEFT" not in os.environ or os.environ["LEFT"] != str(n)
            os.environ["LEFT"] = str(n)
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr(sys, "argv", ["x"])
            assert n % 2
        def test_where(): assert os.path.exists("test_process.py")
        """
    )
    suite.same()


def test_hooks_of_a_teardown_are_told_the_next_item_as_serial(suite: Suite) -> None:
    for folder in ("one", "two", "one/deep"):
        path = suite.path / folder
        path.mkdir()
        (path / "test_here.py").write_text("def test_1(): pass\ndef test_2(): pass")
        (path / "conftest.py").write_text(
            "def pytest_runtest_teardown(item, nextitem):\n"
            "    kind = type(nextitem).__name__\n"
            f"    print({folder!r}, item.name, nextitem is None, not nextitem, kind)\n"
            "    if nextitem is not None: print(nextitem.nodeid, nextitem.path, nextitem.parent)\n"
        )
        (path / "__init__.py").touch()
    suite.conftest(
        """
        import pytest
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item, nextitem):
            return (yield)
        @pytest.fixture(autouse=True)
        def shown(): yield; print("function")
        @pytest.fixture(autouse=True, scope="module")
        def of_module(): yield; print("module")
        """
    )
    suite.same("-rA", workers=1)
