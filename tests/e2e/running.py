"""Runs that are watched while they go on: notes from inside, signals, what processes are left.

Nothing here sleeps to give something time: every wait is for a note, for a process to end, or for
a file to become readable, and is bounded by ``BOUND`` seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.serial import INSIDE, plain

BOUND = 60.0
"""Seconds after which a run that does not go on has failed its test."""

GONE = 2.0
"""Seconds within which every process of a run must be gone after its controller."""


UP_AND_DOWN = """
    @pytest.fixture(scope="session", autouse=True)
    def of_session():
        note("up session"); yield; note("down session")
    @pytest.fixture(scope="module", autouse=True)
    def of_module():
        note("up module"); yield; note("down module")
    @pytest.fixture(autouse=True)
    def of_test():
        note("up test"); yield; note("down test")
"""
"""A conftest whose fixtures, one of each scope, note that they are set up and torn down."""

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1
"""Linux: ``prctl(2)``, ``capabilities(7)``."""


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    exit: int
    text: str
    """Its standard output."""
    errors: str
    """Its standard error."""
    notes: list[str]
    """What the tests inside noted, in order."""

    @property
    def counts(self) -> dict[str, int]:
        """Outcomes as the last line counts them: ``{"passed": 3, "failed": 1}``."""
        try:
            counts = pytest.RunResult.parse_summary_nouns(self.text.splitlines())
        except ValueError:
            counts = {}
        return counts or {f"no outcome, but exit code {self.exit}:\n{self.text}{self.errors}": 0}

    @property
    def ran(self) -> Counter[str]:
        """How often each test noted ``ran <name>``."""
        return Counter(line[4:] for line in self.notes if line.startswith("ran "))

    def section(self, title: str) -> str:
        """The text of one of the terminal's sections; empty if there is none."""
        pattern = rf"^=+ {re.escape(title)} =+\n(.*?)(?=^[=!]+ .* [=!]+$|\Z)"
        found = re.search(pattern, self.text, re.MULTILINE | re.DOTALL)
        return found[1] if found else ""

    def report(self, name: str) -> str:
        """The block of the test or error ``name`` among the failures and errors."""
        end = r"^_+ (?!_)[^\n]* _+$|^=+ [^\n]* =+$|\Z"  # no line between two frames: "_ _ _"
        pattern = rf"^_+ {re.escape(name)} _+\n(.*?)(?={end})"
        found = re.search(pattern, self.text, re.MULTILINE | re.DOTALL)
        assert found, f"no report of {name!r} in:\n{self.text}"
        return found[1]


class Running:
    """A run that goes on."""

    def __init__(self, folder: Path, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.marker = uuid.uuid4().hex
        self._told_file = _fifo(folder / "told")
        self._told = b""
        self._gates: dict[str, int] = {}
        self._env = env | {"E2E_RUN": self.marker}
        self._command = command
        self._cwd = cwd
        self._readers: dict[str, Reader] = {}
        self._terminal: int | None = None

    def start(
        self,
        *,
        terminal: bool = False,
        size: tuple[int, int] | None = None,
        piped: bool = False,
        stdout: int | None = None,
        ignore: tuple[signal.Signals, ...] = (),
        powerless: bool = False,
    ) -> Running:
        """Start it as the leader of a process group.

        ``terminal``: on a terminal of its own, of this ``size`` (columns, rows). ``piped``: with
        its output in pipes. Either way ``await_text`` can be asked. ``ignore``: with these signals
        ignored. ``powerless``: if as root, then with the permissions of files that others have.
        """
        ours, theirs = pty.openpty() if terminal else (None, None)
        self._terminal = ours
        if size is not None:
            self.resize(*size)
        pipes = {name: os.pipe() for name in ("out", "err") if piped}
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.DEVNULL if theirs is None else theirs,
                stdout=_first(theirs, pipes.get("out", (0, None))[1], stdout, out),
                stderr=_first(theirs, pipes.get("err", (0, None))[1], err),
                start_new_session=True,
                preexec_fn=_as_a_shell_would(terminal, ignore, powerless),  # noqa: PLW1509 -- no lock is taken in it
            )
        if ours is not None and theirs is not None:
            os.close(theirs)
            self._readers["out"] = Reader(ours, self.folder / "out")
        for name, (reading, writing) in pipes.items():
            os.close(writing)
            self._readers[name] = Reader(reading, self.folder / name)
        return self

    def await_text(self, text: str, stream: str = "out") -> None:
        """Wait until this stands in its output (``out``) or its errors (``err``)."""
        __tracebackhide__ = True
        if not self._readers[stream].saw(text.encode()):
            pytest.fail(f"never came: {text!r}\n{self._so_far()}", pytrace=False)

    def stop_reading(self, stream: str = "out") -> None:
        """Close its output from our side, as ``head`` does when it has enough."""
        self._readers[stream].stop()

    # --- notes and gates ----------------------------------------------------------------------

    def precede_with(self, line: str) -> None:
        """Start it from a shell that does this before it becomes the run; before the start."""
        self._command = ["/bin/sh", "-c", f'{line} exec "$@"', "sh", *self._command]

    @property
    def args(self) -> list[str]:
        """The arguments of pytest; before the start."""
        return self._command[3:]

    @property
    def command(self) -> list[str]:
        """All words of it; before the start."""
        return self._command

    def replace_command(self, *words: str) -> None:
        """Run something else; before the start."""
        self._command = [*words]

    def gate(self, *names: str) -> None:
        """Make gates for ``hold``; before the start."""
        for name in names:
            self._gates[name] = _fifo(self.folder / f"gate-{name}")

    def release(self, name: str) -> None:
        os.write(self._gates[name], b".")

    def expect(self, *lines: str) -> None:
        """Wait until each of these has been noted, in whatever order."""
        missing = Counter(lines)
        deadline = time.monotonic() + BOUND
        while missing:
            line = self._next_note(deadline)
            if line is None:
                pytest.fail(f"never noted: {list(missing)}\n{self._so_far()}")
            missing = missing - Counter([line])

    def lines(self) -> Iterator[str]:
        """Each line that is noted, as it comes, until the end of the run."""
        deadline = time.monotonic() + BOUND
        while (line := self._next_note(deadline)) is not None:
            yield line

    def _next_note(self, deadline: float) -> str | None:
        """The next line from inside; ``None`` when none comes any more."""
        while b"\n" not in self._told:
            is_over = self.process.poll() is not None
            wait = 0.0 if is_over else max(0.0, min(0.2, deadline - time.monotonic()))
            if select.select([self._told_file], [], [], wait)[0]:
                self._told += os.read(self._told_file, 1 << 16)
            elif is_over or time.monotonic() > deadline:
                return None
        line, _, self._told = self._told.partition(b"\n")
        return line.decode()

    def noted(self, word: str) -> list[str]:
        """What follows ``word`` in the notes so far that begin with it."""
        lines = self._read("notes.txt").splitlines()
        return [line.removeprefix(word + " ") for line in lines if line.startswith(word + " ")]

    # --- processes ----------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to the run, by a variable that all of them have inherited."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("E2E_RUN") == self.marker:
                    found.append(process)
        return found

    def send(self, signum: int) -> None:
        """To the controller alone."""
        self.process.send_signal(signum)

    def send_to_group(self, signum: int) -> None:
        """To the whole foreground process group, as a terminal does."""
        os.killpg(self.process.pid, signum)

    def kill(self, pid: int, signum: int = signal.SIGKILL) -> None:
        """One of its processes, if it is still there, and wait until it is gone."""
        for process in self.processes():
            if process.pid == pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signum)
                psutil.wait_procs([process], BOUND)

    def await_death(self, pid: int) -> None:
        """Wait until this one of its processes is gone, by itself."""
        found = [process for process in self.processes() if process.pid == pid]
        _, alive = psutil.wait_procs(found, BOUND)
        assert not alive

    def resize(self, columns: int, rows: int) -> None:
        """Give its terminal another size."""
        assert self._terminal is not None
        termios.tcsetwinsize(self._terminal, (rows, columns))

    def written(self) -> str:
        """What it has written until now, with all that tells a terminal what to do."""
        return self._read("out")

    def press(self, keys: bytes) -> None:
        """Type on the terminal."""
        assert self._terminal is not None
        os.write(self._terminal, keys)

    def await_end(self) -> int:
        """Wait for the end of its controller."""
        __tracebackhide__ = True
        try:
            return self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            where = "\n".join(map(_where, self.processes()))
            pytest.fail(
                f"it did not end within {BOUND:.0f} s\n{where}\n{self._so_far()}", pytrace=False
            )

    def end(self) -> Ended:
        """Wait for its end and require that nothing of it is left."""
        __tracebackhide__ = True
        code = self.await_end()
        self.require_gone()
        for reader in self._readers.values():
            reader.join(BOUND)
        notes = self._read("notes.txt").splitlines()
        return Ended(code, plain(self._read("out")), self._read("err"), notes)

    def require_gone(self) -> None:
        __tracebackhide__ = True
        _, alive = psutil.wait_procs(self.processes(), GONE)
        left = [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
        if left:
            pytest.fail(f"left {GONE:.0f} s after its end: {left}\n{self._so_far()}", pytrace=False)

    def close(self) -> None:
        """Kill what is left of it."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if hasattr(self, "process"):
            self.process.wait(BOUND)
        for reader in self._readers.values():
            reader.stop()
        for descriptor in (self._told_file, *self._gates.values()):
            os.close(descriptor)

    def _read(self, name: str) -> str:
        file = self.folder / name
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def _so_far(self) -> str:
        return "\n".join(f"{name}:\n{self._read(name)}" for name in ("notes.txt", "out", "err"))


def _where(process: psutil.Process) -> str:
    """What a process is at: its state, and the call of the kernel in which it waits (Linux)."""
    facts = [f"process {process.pid}, child of {process.ppid()}, {process.status()}"]
    for name in ("wchan", "syscall"):
        with contextlib.suppress(OSError):
            facts.append(Path(f"/proc/{process.pid}/{name}").read_text(encoding="utf-8").strip())
    return ", ".join(facts)


def _fifo(path: Path) -> int:
    """A named pipe, opened for both directions: so it has a reader and a writer at all times."""
    os.mkfifo(path)
    return os.open(path, os.O_RDWR)


def _as_a_shell_would(
    terminal: bool, ignore: tuple[signal.Signals, ...], powerless: bool
) -> Callable[[], None]:
    """Ctrl-C works in the foreground, wherever these tests themselves run."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for signum in ignore:
            signal.signal(signum, signal.SIG_IGN)
        if terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if powerless and os.getuid() == 0:
            ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE)

    return prepare


def _first(*given: Any) -> Any:
    return next(it for it in given if it is not None)


class Reader:
    """Reads what comes from a pipe or a terminal, and writes it to a file, on a thread."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self._stopping, self._stop = os.pipe()
        self._text = b""
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._path.open("wb") as file, contextlib.suppress(OSError):  # EIO of a terminal
            while data := self._next():
                data = data.replace(b"\r\n", b"\n")
                file.write(data)
                file.flush()
                with self._news:
                    self._text += data
                    self._news.notify_all()
        os.close(self._descriptor)

    def _next(self) -> bytes:
        ready, _, _ = select.select([self._descriptor, self._stopping], [], [])
        return b"" if self._stopping in ready else os.read(self._descriptor, 1 << 16)

    def saw(self, text: bytes) -> bool:
        """Whether this text comes, waiting for it."""
        with self._news:
            return self._news.wait_for(lambda: text in self._text, BOUND)

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def stop(self) -> None:
        """Read no more, and close it."""
        if self._stop >= 0:
            os.close(self._stop)  # the other end becomes readable
            self._stop = -1
            self._thread.join()
            os.close(self._stopping)


@dataclass
class Stage:
    """A suite in a directory of its own, to be run and watched."""

    pytester: pytest.Pytester
    base: Path
    """Where its runs have their files: not below the suite, which must not find them."""
    env: dict[str, str] = field(default_factory=dict)
    _runs: list[Running] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.pytester.path

    def write(self, **files: str) -> None:
        """Write modules: ``write(test_a="...")``. Each begins with the usual imports."""
        usual = "import os, signal, sys, pytest\nfrom e2e_notes import hold, note\n"
        for name, source in files.items():
            file = self.path / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(usual + _unindented(source), encoding="utf-8")

    def prepare(
        self, *args: str, workers: int | None = 2, braid: bool = True, basetemp: bool = True
    ) -> Running:
        """A run that is yet to be started; ``workers`` may be left to ``args`` (``None``);
        ``basetemp``: with a base directory of its own."""
        number = len(self._runs)
        folder = self.base / f"run-{number}"
        folder.mkdir()
        options = ["-p", "braid" if braid else "no:braid"]
        if braid and workers is not None:
            options += ["-n", str(workers)]
        if basetemp:
            options.append(f"--basetemp={self.base / f'temp-{number}'}")
        command = [sys.executable, "-m", "pytest", *options, *args]
        running = Running(folder, command, self.path, self._environment(folder))
        self._runs.append(running)
        return running

    def start(self, *args: str, gates: tuple[str, ...] = (), workers: int | None = 2) -> Running:
        running = self.prepare(*args, workers=workers)
        running.gate(*gates)
        return running.start()

    def run(self, *args: str, workers: int | None = 2) -> Ended:
        return self.start(*args, workers=workers).end()

    def serial(self, *args: str) -> Ended:
        return self.prepare(*args, braid=False).start().end()

    def _environment(self, folder: Path) -> dict[str, str]:
        """As on a clean machine, even if this suite runs under braid itself."""
        ours = ("PYTEST_", "PY_COLORS", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "COV_", "CI", "E2E_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        return inherited | {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(INSIDE),
            "PYTEST_DEBUG_TEMPROOT": str(self.base),  # what others have left there takes minutes
            "PYTHONDONTWRITEBYTECODE": "1",
            "E2E_NOTES": str(folder),
            **self.env,
        }

    def close(self) -> None:
        for running in self._runs:
            running.close()


def _unindented(source: str) -> str:
    import textwrap

    return textwrap.dedent(source)


def staged(pytester: pytest.Pytester, base: Path) -> Iterator[Stage]:
    """For the fixture of this name."""
    stage = Stage(pytester, base)
    try:
        yield stage
    finally:
        stage.close()
