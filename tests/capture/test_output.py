"""Output of tests that run at once, compared with a plain run's, section by section."""

from __future__ import annotations

import pytest

from tests.capture.conftest import Overlapped, texts

CHATTY = """
import contextlib, io, os, sys, threading, pytest

@pytest.fixture
def talks(request):
    print("setup of", request.node.name)
    print("error in setup of", request.node.name, file=sys.stderr)
    yield
    meet()
    print("teardown of", request.node.name)

@pytest.mark.parametrize("n", range(4))
def test_says(talks, n):
    for _ in range(50):
        print("say", n)
    meet()
    sys.stderr.write(f"error {n}\\n")
    sys.stdout.buffer.write(b"bytes %d\\n" % n)
    meet()
    assert n % 2

@pytest.mark.parametrize("n", range(2))
def test_starts_a_thread(talks, n):
    def inner():
        print("in a thread of", n)
    def outer():
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()
        print("in the outer thread of", n)
    thread = threading.Thread(target=outer)
    meet()
    thread.start()
    thread.join()
    assert 0

@pytest.mark.parametrize("n", range(2))
def test_redirects(n):
    own = io.StringIO()
    before = sys.stdout
    with contextlib.redirect_stdout(own):
        meet()
        print("redirected", n)
        meet()
        assert sys.stdout is own
    assert sys.stdout is before
    meet()
    with contextlib.redirect_stdout(None):
        print("to nobody")
    print("said", n)
    assert own.getvalue() == f"redirected {n}\\n"

@pytest.mark.parametrize("n", range(2))
def test_capsys(capsys, n):
    print("first", n)
    meet()
    print("error", n, file=sys.stderr)
    assert capsys.readouterr() == (f"first {n}\\n", f"error {n}\\n")
    with capsys.disabled():
        meet()
    meet()
    print("rest", n)

def test_capsysbinary(capsysbinary):
    print("bytes")
    meet()
    assert capsysbinary.readouterr().out == b"bytes\\n"
    print("rest")

def test_asks_late_for_its_output(request):
    print("before")
    capsys = request.getfixturevalue("capsys")
    print("captured")
    meet()
    assert capsys.readouterr().out == "captured\\n"
    print("left over")

@pytest.fixture
def captured(capsys):
    print("in setup")
    yield capsys
    print("in teardown")

@pytest.mark.parametrize("n", range(2))
def test_leaves_output_to_its_teardown(captured, n):
    meet()
    print("in the test", n)

def test_leaves_capturing_off(pytestconfig):
    print("taken")
    pytestconfig.pluginmanager.get_plugin("capturemanager").suspend_global_capture(in_=True)
    meet()

def test_says_nothing():
    meet()

def test_reads_input():
    with pytest.raises(OSError, match="reading from stdin"):
        input()
    sys.stdin = io.StringIO("typed")
    meet()
    assert input() == "typed"

def test_both_fixtures(capsys, capfd):
    pass

def test_last_exception(n=3):
    assert not hasattr(sys, "last_value")
    meet()
    raise ValueError
"""


@pytest.mark.parametrize("method", ["fd", "sys", "tee-sys"])
def test_each_test_has_its_own_output(overlapped: Overlapped, method: str) -> None:
    record = overlapped(CHATTY, f"--capture={method}")
    said = texts(record, "Captured stdout call")
    assert said["test_says[2]"] == "say 2\n" * 50 + "bytes 2\n"
    assert said["test_starts_a_thread[1]"] == "in a thread of 1\nin the outer thread of 1\n"
    assert said["test_redirects[0]"] == "said 0\n"
    assert said["test_capsys[1]"] == "rest 1\n"
    assert texts(record, "Captured stdout setup")["test_says[0]"] == "setup of test_says[0]\n"
    assert texts(record, "Captured stderr call")["test_says[3]"] == "error 3\n"
    assert texts(record, "Captured stdout teardown")["test_says[3]"] == "teardown of test_says[3]\n"


def test_nothing_is_captured_where_nothing_shall_be(overlapped: Overlapped) -> None:
    source = """
def test_one(): meet(); print("one"); assert 0
def test_capsys(capsys): print("two"); meet(); assert capsys.readouterr().out == "two\\n"
"""
    record = overlapped(source, "-s")
    assert [report["sections"] for report in record["reports"]] == [[]] * 6


def test_a_stream_is_the_file_that_it_is_serially(overlapped: Overlapped) -> None:
    source = r"""
import os, sys

def test_one():
    print("first")
    meet()
    assert (sys.stdout.mode, sys.stdout.encoding, sys.stdout.errors) == ("r+", "utf-8", "replace")
    print("\ud800")
    os.write(sys.stdout.fileno(), b"by the descriptor\n")
    print("last")
    sys.stdout.flush()
    assert 0

def test_two(capsys):
    meet()
    print("mine")
"""
    source = source.replace('"r+"', "sys.stdout.mode")  # what it is differs between pytests
    record = overlapped(source, "--capture=fd")
    said = texts(record, "Captured stdout call")
    assert said == {"test_one": "first\n?\nby the descriptor\nlast\n", "test_two": "mine\n"}
