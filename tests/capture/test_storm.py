"""Two hundred tests at once that say, log and warn what they can."""

from __future__ import annotations

from tests.capture.conftest import Overlapped, texts

SOURCE = """
import logging, sys, threading, warnings
import pytest

sys.setswitchinterval(1e-5)

@pytest.fixture
def noisy(request, tmp_path):
    print("setup of", request.node.name)
    logging.warning("setup of %s", request.node.name)
    yield tmp_path
    print("teardown of", request.node.name)
    logging.warning("teardown of %s", request.node.name)

@pytest.mark.parametrize("n", range(100))
def test_with_fixtures(noisy, capsys, caplog, recwarn, n):
    for i in range(20):
        print("out", n, i)
        print("err", n, i, file=sys.stderr)
        logging.warning("log %d %d", n, i)
        warnings.warn(f"warned by {n}")
    thread = threading.Thread(target=print, args=("thread of", n))
    thread.start()
    thread.join()
    out, err = capsys.readouterr()
    assert out == "".join(f"out {n} {i}\\n" for i in range(20)) + f"thread of {n}\\n"
    assert err == "".join(f"err {n} {i}\\n" for i in range(20))
    assert caplog.messages == [f"log {n} {i}" for i in range(20)]
    assert len(recwarn) == 1
    noisy.joinpath("file").touch(exist_ok=False)
    print("last of", n)
    assert n % 3

@pytest.mark.parametrize("n", range(100))
def test_alone(n):
    for i in range(20):
        print("out", n, i)
        warnings.warn(f"warned by {n}")
        logging.error("log %d", n)
    assert [n] == [n % 3]
"""


def test_every_section_is_whole(overlapped: Overlapped) -> None:
    record = overlapped(SOURCE)
    said = texts(record, "Captured stdout call")
    assert len(said) == 200
    assert said["test_with_fixtures[7]"] == "last of 7\n"
    assert said["test_alone[7]"] == "".join(f"out 7 {i}\n" for i in range(20))
    failed = {entry["test"] for entry in record["reports"] if entry["outcome"] == "failed"}
    assert len(failed) == 34 + 97
