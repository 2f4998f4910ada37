"""State that pytest and tests keep in the process, of tests that run at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capture.conftest import Overlapped, texts


def test_each_test_explains_its_own_assertions(overlapped: Overlapped) -> None:
    conftest = """
def pytest_assertrepr_compare(config, op, left, right):
    if isinstance(left, complex):
        return [f"compared by the conftest: {left} {op} {right}"]

def pytest_assertion_pass(item, lineno, orig, expl):
    print("passed in", item.name, ":", orig)
"""
    source = """
import pytest

@pytest.mark.parametrize("n", range(3))
def test_compares(n):
    meet()
    assert n == n
    meet()
    assert [n, 1j] == [n, 2j, 3]

@pytest.mark.parametrize("n", range(3))
def test_is_explained(n):
    meet()
    assert 1j == n + 1

def test_passes():
    assert 1 == 1
"""
    record = overlapped(source, "-o", "enable_assertion_pass_hook=true", conftest=conftest)
    said = texts(record, "Captured stdout call")
    assert said["test_compares[2]"] == "passed in test_compares[2] : n == n\n"
    explained = [entry["text"] for entry in record["reports"] if "is_explained" in entry["test"]]
    assert "compared by the conftest: 1j == 3" in "".join(explained)


def test_each_test_finds_itself_in_the_environment(overlapped: Overlapped) -> None:
    source = """
import os, pytest

@pytest.fixture
def name(request):
    print(os.environ["PYTEST_CURRENT_TEST"])
    yield
    meet()
    print(os.environ["PYTEST_CURRENT_TEST"])

@pytest.mark.parametrize("n", range(3))
def test_reads(name, n):
    meet()
    print(os.environ["PYTEST_CURRENT_TEST"], os.getenv("PYTEST_CURRENT_TEST"))
    copied = dict(os.environ)
    assert copied["PYTEST_CURRENT_TEST"] == os.environ.copy()["PYTEST_CURRENT_TEST"]
    assert len(copied) == len(os.environ)
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert 0

def test_removes_it():
    del os.environ["PYTEST_CURRENT_TEST"]
    meet()
    assert "PYTEST_CURRENT_TEST" not in os.environ
    assert "PYTEST_CURRENT_TEST" not in list(os.environ)
    with pytest.raises(KeyError, match="PYTEST_CURRENT_TEST"):
        os.environ["PYTEST_CURRENT_TEST"]
    with pytest.raises(KeyError, match="PYTEST_CURRENT_TEST"):
        del os.environ["PYTEST_CURRENT_TEST"]
    with pytest.raises(TypeError):
        os.environ["PYTEST_CURRENT_TEST"] = 3
    os.environ["PYTEST_CURRENT_TEST"] = "put back"
"""
    record = overlapped(source)
    assert texts(record, "Captured stdout setup")["test_reads[1]"] == (
        "test_it.py::test_reads[1] (setup)\n"
    )


@pytest.mark.parametrize("policy", ["all", "failed", "none"])
def test_each_test_has_its_own_directory(
    overlapped: Overlapped, tmp_path: Path, policy: str
) -> None:
    source = """
import pytest

@pytest.mark.parametrize("n", range(8))
def test_writes(tmp_path, tmp_path_factory, n):
    meet()
    assert list(tmp_path.iterdir()) == []
    tmp_path.joinpath("file").write_text("")
    made = {tmp_path_factory.mktemp("made") for _ in range(20)}
    assert len(made) == 20
    meet()
    for path in made:
        path.joinpath("file").touch(exist_ok=False)
    assert n % 2
"""
    options = ("-o", f"tmp_path_retention_policy={policy}", f"--basetemp={tmp_path / 'base'}")
    overlapped(
        source.replace("assert n % 2", "assert n % 2, sorted(p.name for p in made)[:0]"), *options
    )
    kept = [path for path in (tmp_path / "base").glob("test_writes*") if not path.is_symlink()]
    # The directories of the tests that pass, and of those that fail.
    assert len(kept) == (4 if policy == "failed" else 8)


STRAY = """
import sys, threading, pytest

class Broken:
    def __init__(self, n):
        self.n = n
    def __del__(self):
        raise ValueError(f"finalizer {self.n}")
    def __repr__(self):
        return "<Broken>"

def fails(n):
    raise LookupError(f"thread {n}")

@pytest.fixture
def breaks(request):
    yield
    meet()
    Broken("in teardown")
    meet()

@pytest.mark.parametrize("n", range(3))
def test_finalizes(breaks, n):
    meet()
    Broken(n)
    meet()

@pytest.mark.parametrize("n", range(3))
def test_has_a_thread(n):
    meet()
    thread = threading.Thread(target=fails, args=(n,), name="a thread")
    thread.start()
    thread.join()
    meet()

def test_sets_hooks_of_its_own():
    found = []
    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda args: found.append(str(args.exc_value))
    threading.excepthook = lambda args: found.append(str(args.exc_value))
    meet()
    Broken("mine")
    thread = threading.Thread(target=fails, args=("mine",))
    thread.start()
    thread.join()
    meet()
    sys.unraisablehook, threading.excepthook = before
    assert found == ["finalizer mine", "thread mine"]

def test_is_not_concerned():
    meet()
    meet()
"""


@pytest.mark.parametrize("options", [(), ("-Werror",), ("-p", "no:threadexception")])
def test_each_test_has_its_own_stray_exceptions(
    overlapped: Overlapped, options: tuple[str, ...]
) -> None:
    record = overlapped(STRAY, *options)
    told = [entry for entry in record["warnings"] if entry["test"].endswith("has_a_thread[1]")]
    failed = {entry["test"] for entry in record["reports"] if entry["outcome"] == "failed"}
    match options:
        case ():
            assert "LookupError: thread 1" in told[0]["text"]
        case ["-Werror"] if pytest.version_tuple >= (8, 4):
            assert "test_it.py::test_finalizes[2]" in failed
        case ["-p", _]:
            assert "thread 1" in texts(record, "Captured stderr call")["test_has_a_thread[1]"]


def test_plugins_hear_of_one_thing_at_a_time(overlapped: Overlapped) -> None:
    conftest = """
import sys, warnings

sys.setswitchinterval(1e-6)
inside = 0

def enter():
    global inside
    inside += 1
    for _ in range(2000):
        assert inside == 1, "two at once"
    inside -= 1

def pytest_runtest_logstart(): enter()
def pytest_runtest_logreport(): enter()
def pytest_runtest_logfinish(): enter()
def pytest_warning_recorded(): enter()
"""
    source = """
import pytest, warnings

@pytest.mark.parametrize("n", range(6))
def test_warns(n):
    for one in range(10):
        warnings.warn(f"{one}")
"""
    assert len(overlapped(source, conftest=conftest)["warnings"]) == 60
