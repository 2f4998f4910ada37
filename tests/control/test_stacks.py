"""Faulthandler's dumps in reports."""

from __future__ import annotations

from pathlib import Path

from pytest_braid.control.stacks import own_frames, place, thread_first

DUMP = """\
Fatal Python error: Segmentation fault

Thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait
  File "/home/me/project/pump.py", line 9 in run

Current thread 0x02 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/me/project/test_native.py", line 6 in test_reads_the_card
  File "/site-packages/_pytest/python.py", line 187 in pytest_pyfunc_call
  File "/site-packages/pluggy/_execution.py", line 147 in _multicall
  File "/site-packages/pytest/__main__.py", line 9 in <module>

Extension modules: msgspec._core (total: 1)"""


def test_a_dump_ends_where_pytest_calls_the_test() -> None:
    shown = own_frames(DUMP).splitlines()
    assert shown[7:11] == [
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at',
        '  File "/home/me/project/test_native.py", line 6 in test_reads_the_card',
        "  ... (called by pytest)",
        "",
    ]
    assert shown[-1] == "Extension modules: msgspec._core (total: 1)"


def test_a_dump_keeps_the_frames_of_other_threads() -> None:
    assert '  File "/home/me/project/pump.py", line 9 in run' in own_frames(DUMP)


TEARDOWN = """\
Current thread 0x02 (most recent call first):
  File "/home/me/project/conftest.py", line 8 in server
  File "/site-packages/_pytest/fixtures.py", line 1083 in _teardown_yield_fixture
  File "/site-packages/_pytest/runner.py", line 565 in teardown_exact
  File "/site-packages/pluggy/_execution.py", line 147 in _multicall"""


def test_a_dump_ends_where_pytest_tears_a_test_down() -> None:
    assert own_frames(TEARDOWN).splitlines()[1:] == [
        '  File "/home/me/project/conftest.py", line 8 in server',
        '  File "/site-packages/_pytest/fixtures.py", line 1083 in _teardown_yield_fixture',
        "  ... (called by pytest)",
    ]


THREADS = """\
Thread 0x03 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 982 in run

Thread 0x02 (most recent call first):
  File "/home/me/project/pump.py", line 9 in run

Current thread 0x01 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 1119 in join
  File "/home/me/project/.venv/lib/python3.11/site-packages/helper.py", line 3 in wait
  File "/home/me/project/tests/test_pump.py", line 6 in test_pump
  ... (called by pytest)
"""


def test_the_thread_that_runs_the_tests_comes_first() -> None:
    shown = thread_first(THREADS)
    heads = [line for line in shown.splitlines() if "hread 0x" in line]
    assert [head.partition(" (")[0] for head in heads] == [
        "Current thread 0x01",
        "Thread 0x02",
        "Thread 0x03",
    ]
    assert sorted(shown.splitlines()) == sorted(THREADS.strip().splitlines())


def test_the_place_is_the_innermost_line_of_the_project() -> None:
    shown = thread_first(THREADS)
    assert place(shown, Path("/home/me/project")) == "tests/test_pump.py:6 in test_pump"


def test_or_the_innermost_line_of_all() -> None:
    shown = thread_first(THREADS)
    assert place(shown, Path("/elsewhere")) == "/usr/lib/python3.11/threading.py:1119 in join"


def test_or_unknown() -> None:
    assert place("", Path("/home/me/project")) is None
    assert place("Current thread 0x01 (most recent call first):", Path("/home")) is None


def test_a_dump_begins_with_the_thread_that_ran_the_test() -> None:
    dump = "\n\n".join(
        f'{name} 0x{number:016x} (most recent call first):\n  File "a.py", line {number} in f'
        for name, number in (("Thread", 3), ("Thread", 2), ("Current thread", 1))
    )
    found = [thread_first(dump, which).split("line ")[1][0] for which in (0, 1, 2, 3, 9)]
    assert found == ["1", "1", "2", "3", "1"]
