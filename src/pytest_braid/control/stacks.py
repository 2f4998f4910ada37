"""Faulthandler's dumps, as a report shows them."""

from __future__ import annotations

from pathlib import Path

_MOST = 20000
"""Characters of a dump that a report shows: the first ones, where the error is named and the
innermost frames stand."""

_FRAME = '  File "'
_IDLE = ("pytest_braid/worker/pool.py", "pytest_braid/worker/threads.py")
"""Where threads of ours wait: for a test, or for the end of one."""
_PYTEST = ("/_pytest/python.py", "/_pytest/runner.py")
"""Modules of pytest that call tests, and tear them down."""


def own_frames(dump: str) -> str:
    """A dump without the frames of pytest that have called the test: innermost frames come first,
    and from pytest's call of the test on they are the same in every dump."""
    lines: list[str] = []
    is_outside = False
    for line in dump.splitlines():
        is_frame = line.startswith(_FRAME)
        is_pytest = is_frame and any(module in line for module in _PYTEST)
        if is_pytest and not is_outside:
            lines.append("  ... (called by pytest)")
        is_outside = is_frame and (is_outside or is_pytest)
        if not is_outside:
            lines.append(line)
    return "\n".join(lines)[:_MOST]


def thread_first(dump: str, identity: int = 0) -> str:
    """A dump of all threads with one of them first (``threading.get_ident``), or else the main
    thread: the interpreter lists them from the newest to the oldest, which is that one."""
    threads = [thread for thread in dump.strip().split("\n\n")[::-1] if not _is_idle(thread)]
    name = f"hread 0x{identity:016x}"
    return "\n\n".join(sorted(threads, key=lambda thread: name not in thread.partition("\n")[0]))


def _is_idle(thread: str) -> bool:
    return any(f'{idle}", line' in line for line in thread.splitlines()[1:2] for idle in _IDLE)


def place(dump: str, root: Path) -> str | None:
    """Where the first thread of a dump is, as ``test_a.py:12 in test_it``: in the innermost frame
    of the project, or else in the innermost of all; ``None`` without any."""
    frames = [
        _Frame(line, root)
        for line in dump.strip().split("\n\n")[0].splitlines()
        if line.startswith(_FRAME)
    ]
    own = [frame for frame in frames if frame.is_of_project]
    return str([*own, *frames][0]) if frames else None


class _Frame:
    def __init__(self, line: str, root: Path) -> None:
        name, _, rest = line.removeprefix(_FRAME).partition('", line ')
        path = Path(name)
        self.is_of_project = path.is_relative_to(root) and "site-packages" not in path.parts
        self._path = path.relative_to(root) if self.is_of_project else path
        self._rest = rest

    def __str__(self) -> str:
        return f"{self._path}:{self._rest}"
