"""Faulthandler's dumps in reports."""

from __future__ import annotations

from pytest_braid.control.stacks import own_frames

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
