"""How the tests inside a run talk with the test that watches it: notes out, gates in.

Paths are read at import and files opened for each note, so that it works in a test that wipes the
environment, closes every descriptor, or deletes its working directory.
"""

from __future__ import annotations

import os

_FOLDER = os.environ["E2E_NOTES"]


def note(*words: object) -> None:
    """Tell the watching test, and write down: a line of these words and the worker's name."""
    line = (" ".join(map(str, words)) + "\n").encode()
    for name, mode in (("notes.txt", os.O_APPEND | os.O_CREAT), ("told", 0)):
        file = os.open(f"{_FOLDER}/{name}", os.O_WRONLY | mode, 0o666)
        os.write(file, line)
        os.close(file)


def hold(name: str) -> None:
    """Note ``holding <name>`` and wait until the watching test lets go. Ctrl-C interrupts it."""
    gate = os.open(f"{_FOLDER}/gate-{name}", os.O_RDONLY)
    try:
        note("holding", name)
        os.read(gate, 1)
    finally:
        os.close(gate)
