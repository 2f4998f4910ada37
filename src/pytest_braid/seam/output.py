"""pytest's capture, terminal and faulthandler, as far as a forked copy must not share them."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO, FileIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, TextIO

from pytest_braid.seam import interpreter
from pytest_braid.seam.live import end_terminal_line

if TYPE_CHECKING:
    import pytest


def _captures(config: pytest.Config, *names: str) -> Iterator[Any]:
    """The global capture's parts: of stdout, then of stderr, or those named."""
    manager: Any = config.pluginmanager.get_plugin("capturemanager")
    capturing = getattr(manager, "_global_capturing", None)
    for name in names or ("out", "err"):
        yield getattr(capturing, name, None)


def _captured_files(config: pytest.Config) -> Iterator[tuple[Any, TextIO]]:
    """Those parts that capture into files (``--capture=fd``), each with its file."""
    for capture in _captures(config):
        if hasattr(capture, "targetfd"):
            yield capture, capture.tmpfile


def probe_capture(config: pytest.Config) -> str | None:
    """Why the captured streams cannot be given files of their own after a fork, if so."""
    if config.getoption("capture", "no") != "fd":
        return None
    found = list(_captured_files(config))
    if found and all(hasattr(capture, "targetfd_save") for capture, _ in found):
        return None
    return (
        "pytest's capture is built otherwise than braid knows it (CaptureManager._global_capturing)"
    )


def give_capture_files(config: pytest.Config, out: int, err: int) -> None:
    """Put descriptors ``out`` and ``err`` under the stream objects of pytest's global capture.

    The objects stay, because whoever keeps one (a ``logging.StreamHandler``) must go on writing to
    the right place; only what is under them changes: forked copies of one open file share its
    offset and its end, and would read and truncate each other's output. In a worker ``out`` and
    ``err`` are high numbers, out of the way of a test that closes all low ones.
    """
    for capture, descriptor in zip(_captures(config), (out, err), strict=True):
        _give_file(capture, descriptor)
    for capture in _captures(config, "in_"):
        _move_stdin(capture)


def _move_stdin(capture: Any) -> None:
    """What the end of the capture needs: a spawned worker comes to it."""
    if hasattr(capture, "targetfd_save"):
        capture.targetfd_save = interpreter.out_of_reach(capture.targetfd_save)
        with capture.tmpfile as null:
            moved = interpreter.out_of_reach(os.dup(null.fileno()))
        capture.tmpfile = open(moved, encoding="utf-8")  # noqa: SIM115, PTH123 -- pytest closes it


def _give_file(capture: Any, descriptor: int) -> None:
    stream: Any = getattr(capture, "tmpfile", None)
    if hasattr(capture, "targetfd"):
        old = stream.buffer
        known = None if stream.closed else stream.fileno()
        _put_under(stream, FileIO(descriptor, "rb+", closefd=False), "replace")
        old.close()
        if known is not None:  # ``faulthandler`` may have been given it
            os.dup2(descriptor, known, inheritable=False)
        capture.targetfd_save = interpreter.out_of_reach(capture.targetfd_save)
    elif isinstance(stream, TextIOWrapper) and hasattr(stream, "getvalue"):
        written = b"" if stream.closed else stream.getvalue().encode()
        _put_under(stream, _Mirror(descriptor, written), "strict")


def _put_under(stream: TextIOWrapper, raw: Any, errors: str) -> None:
    TextIOWrapper.__init__(
        stream, raw, encoding="utf-8", errors=errors, newline="", write_through=True
    )


def capture_mender(config: pytest.Config, out: int, err: int) -> Callable[[], None]:
    """What opens the captured streams again if a test has closed them. Such a test fails; so would
    all others after it."""
    pairs = zip(_captures(config), (out, err), strict=True)
    found = [(capture, number) for capture, number in pairs if hasattr(capture, "tmpfile")]

    def mend() -> None:
        for capture, descriptor in found:
            if capture.tmpfile.closed:
                os.truncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                _give_file(capture, descriptor)

    return mend


def leave_capture_alone(config: pytest.Config) -> None:
    """In a copy of this process that a test has forked: what has been captured is for the original
    to read. Reading empties the file that both share."""
    for capture in _captures(config):
        if capture is not None:
            capture.snap = str


class _Mirror(BytesIO):
    """What ``--capture=sys`` keeps in memory, with a copy in a file that outlives the process."""

    def __init__(self, descriptor: int, data: bytes) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.write(data)

    def write(self, data: Any) -> int:
        os.pwrite(self._descriptor, data, self.tell())
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        left = super().truncate(size)
        os.truncate(self._descriptor, left)
        return left


def send_output_to(config: pytest.Config, log: int) -> None:
    """Send to ``log`` what would reach descriptors 1 and 2 when nothing is captured."""
    for capture, _ in _captured_files(config):
        os.dup2(log, capture.targetfd_save, inheritable=False)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)


def captures_in_files(config: pytest.Config) -> bool:
    """Whether the output of tests goes to the files of :func:`give_capture_files`."""
    return any(True for _ in _captured_files(config))


def terminal_markup(config: pytest.Config) -> bool:
    """Whether this process's terminal reporter would use colours on its stdout."""
    from _pytest.config import create_terminal_writer

    if not config.pluginmanager.has_plugin("terminal"):
        return False
    return bool(create_terminal_writer(config, sys.stdout).hasmarkup)


class QuietTerminal:
    """Stands in a worker under the name ``terminalreporter``.

    It answers as the reporter would (plugins ask it for its writer, its verbosity, its
    ``config``) and implements no hook: the controller reports. pluggy finds hooks with ``dir``.
    """

    def __init__(self, reporter: object) -> None:
        self._reporter = reporter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    def __dir__(self) -> list[str]:
        return []


def quiet_terminal(config: pytest.Config, markup: bool) -> None:
    """Silence the terminal reporter of a worker; its writer renders as the controller's would."""
    manager = config.pluginmanager
    reporter: Any = manager.get_plugin("terminalreporter")
    if reporter is None:
        return
    writer = reporter._tw
    writer._file = Unseen()
    writer.hasmarkup = markup
    manager.unregister(reporter)
    manager.register(QuietTerminal(reporter), "terminalreporter")


class Unseen(TextIOWrapper):
    """What plugins write to the terminal of a worker, which has none: it is lost.

    But if one of them ends the process, as pytest-timeout does, this is what it had to say. So what
    was flushed in the running phase of a test is kept in a file that the controller can read.
    """

    def __init__(self) -> None:
        super().__init__(FileIO(os.devnull, "wb"), encoding="utf-8")
        self._text = ""
        self._descriptor: int | None = None
        self._pwrite, self._truncate = os.pwrite, os.truncate  # before a test can patch the module

    def keep_in(self, descriptor: int) -> None:
        self._text, self._descriptor = "", descriptor

    def write(self, text: str) -> int:
        self._text = (self._text + text)[-_UNSEEN:]
        return len(text)

    def flush(self) -> None:
        if self._descriptor is not None and self._text:
            data = self._text.encode(errors="backslashreplace")
            self._pwrite(self._descriptor, data, 0)
            self._truncate(self._descriptor, len(data))

    def forget(self) -> None:
        """Begin anew."""
        if self._text and self._descriptor is not None:
            self._text = ""
            self._truncate(self._descriptor, 0)


_UNSEEN = 20000
"""Characters of that which are kept: the last ones."""


def keep_unseen(config: pytest.Config, descriptor: int) -> Callable[[], None]:
    """Keep what is written to this worker's terminal in a file; returns what empties it."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    file = getattr(getattr(reporter, "_tw", None), "_file", None)
    if not isinstance(file, Unseen):  # there is no terminal reporter, or another's
        return lambda: None
    file.keep_in(descriptor)
    return file.forget


STACKS: int = getattr(signal, "SIGRTMAX", signal.SIGXCPU + 1) - 1
"""The signal upon which a worker writes its stacks: one that nobody else sends. Not the last one,
which valgrind keeps for itself."""


def give_fault_file(config: pytest.Config, descriptor: int) -> None:
    """Let faulthandler write to ``descriptor``, under pytest's and under its own number.

    Its handler is no Python code: it runs at once, whoever holds the interpreter's lock.
    """
    faulthandler.register(STACKS, file=descriptor, all_threads=True)
    try:
        from _pytest.faulthandler import fault_handler_stderr_fd_key as key
    except ImportError:
        return
    number = config.stash.get(key, None)
    if number is not None:
        os.dup2(descriptor, number, inheritable=False)
        config.stash[key] = interpreter.out_of_reach(os.dup(number))  # for pytest to close


def say(config: pytest.Config, text: str, *, always: bool = False) -> None:
    """Write lines to the terminal, unless it is told to be quiet."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and (always or config.option.verbose >= 0):
        end_terminal_line(config)
        for line in text.splitlines():
            reporter.write_line(line)
        reporter.flush()


def show_collecting(config: pytest.Config) -> None:
    """Let the terminal say ``collecting ...`` where it would before a collection of its own. With
    ``-q`` a log gets the line that pytest-xdist writes there."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.pytest_collection()
        if config.option.verbose < 0 and not reporter.isatty:
            reporter.write_line("bringing up nodes...")


def say_started(config: pytest.Config, workers: int, wanted: int, tests: int, mode: str) -> None:
    """Say how many workers there are, and how many tests for them, as pytest-xdist does: in a log
    as two lines, on a terminal the second takes the place of the first. ``-v`` names the mode."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    if not reporter.isatty:
        say(config, f"created: {workers}/{wanted} {_counted(wanted, 'worker')}")
    noun, items = _counted(workers, "worker"), _counted(tests, "item")
    say(config, f"{workers} {noun} [{tests} {items}]")
    if config.option.verbose > 0:
        say(config, f"scheduling tests via {mode}")


def name_groups(config: pytest.Config, groups: Mapping[str, str]) -> None:
    """Let the terminal put ``@`` and its group behind each test that it has a line for: where
    pytest-xdist, which appends them to the node id, shows them."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    of_test = getattr(reporter, "_locationline", None)
    if of_test is None or not groups:
        return

    def with_group(nodeid: object, *location: object) -> str:
        line: str = of_test(nodeid, *location)
        group = groups.get(str(nodeid))
        if group is None:
            return line
        test, arrow, place = line.rstrip().partition(" <- ")
        return f"{test}@{group}{arrow}{place} "

    reporter._locationline = with_group


def _counted(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def show_collected(config: pytest.Config, found: int) -> None:
    """Let the terminal say ``collected N items``, as it does after a collection of its own."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter._numcollected = found
        reporter.report_collect(True)
