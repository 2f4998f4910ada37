"""How far a run is: below the output on a terminal, in lines elsewhere, and never in the way.

An emulated terminal (pyte) says what a user would see: the screen, and what has been scrolled out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyte
import pytest

from tests.e2e.running import Running, Stage

AT_ONCE = """
    import pytest_braid.control.progress as progress
    progress.AT_FIRST = progress.WHILE_BUSY = 0
    import pytest_braid.report.verdict as verdict
    verdict.SHORTEST = 1e9  # a slow machine has lines at the end that a fast one has not
"""
"""A conftest with which no run is too short for a block, and no moment too early for another."""

SOON = """
    import pytest_braid.control.progress as progress
    progress.EVERY = progress.SILENCE = 0.05
"""

SIZE = (80, 24)
BLOCK = re.compile(r"^\s*(\d+% of|\d+/\d+) ?\d* tests?.*$", re.MULTILINE)
"""The first line of a block."""


@pytest.fixture(autouse=True)
def terminal(stage: Stage) -> None:
    stage.env |= {"TERM": "xterm-256color", "PYTHONUNBUFFERED": ""}


class Window:
    """A terminal's window, and all that has been scrolled out of it."""

    def __init__(self, columns: int = SIZE[0], rows: int = SIZE[1]) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self.screen.set_mode(pyte.modes.LNM)  # the line ends have been made ``\n``
        self._stream = pyte.Stream(self.screen)
        self._fed = 0

    def show(self, written: str) -> Window:
        """Show what has been written since the last time."""
        self._stream.feed(written[self._fed :])
        self._fed = len(written)
        return self

    @property
    def text(self) -> str:
        """From the first line to the last that is not blank."""
        columns = self.screen.columns
        top = ["".join(row[x].data for x in range(columns)) for row in self.screen.history.top]
        lines = [line.rstrip() for line in (*top, *self.screen.display)]
        return "\n".join(lines).rstrip()


def seen(running: Running, size: tuple[int, int] = SIZE) -> str:
    return Window(*size).show(running.written()).text


def begun(
    stage: Stage, *args: str, gates: Sequence[str] = (), workers: int = 2,
    size: tuple[int, int] = SIZE,
) -> Running:  # fmt: skip
    running = stage.prepare(*args, workers=workers)
    running.gate(*gates)
    return running.start(terminal=True, size=size)


def ended(stage: Stage, *args: str, workers: int = 1, size: tuple[int, int] = SIZE) -> Running:
    running = begun(stage, *args, workers=workers, size=size)
    running.end()
    return running


def steady(text: str) -> str:
    """Without what is another in each run."""
    text = re.sub(r" *\d+\.\d+[mun]?s\b", " <seconds>", text)
    return re.sub(r"=+ (.*<seconds>.*?) =+", r"\1", text)


def unwrapped(text: str) -> str:
    """The same where lines were broken, too; how wide the last one is depends on the time."""
    return re.sub(r"[=\s]|\d+\.\d\ds", "", text.replace("\n", ""))


EVERYTHING = """
    import logging
    @pytest.mark.parametrize("n", range(90))
    def test_many(n): pass
    def test_prints(): print("out")
    def test_prints_an_error(): print("err", file=sys.stderr)  # apart: these are two pipes
    def test_prints_a_part(): print("part", end="")
    def test_logs(): logging.getLogger().warning("beware")
    def test_fails(): print("captured"); assert 0, "of a long reason " * 9
    @pytest.mark.skip
    def test_skipped(): pass
    def test_dies(): os.kill(os.getpid(), 9)
    @pytest.mark.parametrize("n", ["x" * 100, "\\u6f22\\u5b57" * 30])
    def test_wide(n): pass
    def test_warns():
        import warnings
        warnings.warn("mind this")
"""

PRINTS = """
    def pytest_configure(config):
        if not hasattr(config, "workerinput"): config.pluginmanager.register(InController())
    class InController:
        def pytest_runtest_logfinish(self, nodeid):
            if "test_many[7" in nodeid: print("printed by a conftest")
            if "test_many[60]" in nodeid:  # to the last column, and not beyond
                print("\\n" + "x" * os.get_terminal_size(1).columns, end="", flush=True)
            if "test_many[10]" in nodeid: print("\\na\\x1b[70C", end="", flush=True)
            if "test_many[30]" in nodeid: print("\\na" + "\\t" * 9, end="", flush=True)
            if "test_many[8" in nodeid: print("half a line", end="", file=sys.stderr, flush=True)
"""

WAYS = {
    "plain": ["-p", "no:terminalprogress"],
    "verbose": ["-v"],
    "not captured": ["-s"],
    "captured in Python": ["--capture=sys"],
    "shown as well": ["--capture=tee-sys"],
    "live log": ["--log-cli-level=INFO"],
    "counted": ["-o", "console_output_style=count"],
    "times": ["-o", "console_output_style=times", "-v"],
    "classic": ["-o", "console_output_style=classic"],
    "quiet": ["-q"],
    "no colours": ["--color=no"],
}


@pytest.mark.parametrize("args", WAYS.values(), ids=WAYS)
def test_what_is_left_is_exactly_the_output_without_it(stage: Stage, args: list[str]) -> None:
    stage.write(conftest=AT_ONCE + PRINTS, test_a=EVERYTHING)
    without = ended(stage, "--braid-progress=off", *args)
    with_it = ended(stage, "--braid-progress=on", *args)
    assert "\x1b7" not in without.written()
    assert "\x1b7" in with_it.written()
    assert steady(seen(with_it)) == steady(seen(without))


def test_on_a_small_screen_too(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE + PRINTS, test_a=EVERYTHING)
    size = (34, 7)
    without = ended(stage, "--braid-progress=off", size=size)
    with_it = ended(stage, size=size)
    assert "\x1b7" in with_it.written()
    assert unwrapped(seen(with_it, size)) == unwrapped(seen(without, size))


HELD = """
    def test_1(): pass
    def test_2(): hold("a")
    def test_3(): hold("b")
    def test_4(): assert 0, "two\\nlines"
"""


def test_the_block_tells_how_far_it_is_what_runs_and_what_has_failed(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=HELD)
    running = begun(stage, "--dist=loadfile", gates=("a", "b"), workers=1)
    running.expect("holding a")
    running.await_text("test_a.py::test_2\x1b[K")
    above, block = BLOCK.split(seen(running), maxsplit=1)[0], seen(running).splitlines()
    assert above.rstrip().endswith("\n.")  # where the next result goes
    (head,) = (n for n, line in enumerate(block) if BLOCK.match(line))
    assert re.fullmatch(r"25% of 4 tests, \d+ s", block[head])
    assert re.fullmatch(r"  gw0 +\d+\.\d s  test_a.py::test_2", block[head + 1])
    running.release("a")
    running.expect("holding b")
    running.release("b")
    running.end()
    assert "FAILED \x1b[0mtest_a.py::test_4 - AssertionError: two" in running.written()
    assert not BLOCK.search(seen(running))


def test_a_test_grows_older_while_nothing_happens(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE + "    progress.WHILE_IDLE = 0.1", test_a=HELD)
    running = begun(stage, gates=("a", "b"), workers=1)
    running.await_text(" 0.3 s  ")
    running.await_text(" 0.6 s  ")
    running.release("a")
    running.release("b")
    running.end()


@pytest.mark.parametrize("presses", [1, 2])
def test_after_ctrl_c_the_screen_is_as_without_it(stage: Stage, presses: int) -> None:
    stage.write(conftest=AT_ONCE, test_a=HELD)
    running = begun(stage, gates=("a", "b"))
    running.await_text("test_a.py::test_2\x1b[K")
    for _ in range(presses):
        running.press(b"\x03")
    assert running.end().exit == 2
    assert not BLOCK.search(seen(running))
    assert "Interrupted while running" in seen(running) or presses == 2


def test_a_suspended_run_leaves_the_screen_to_the_shell(stage: Stage) -> None:
    """Ctrl-Z, and ``fg``."""
    stage.write(conftest=AT_ONCE, test_a=HELD)
    running = stage.prepare(workers=1)
    running.gate("a", "b")
    script = '"$@"; echo the shell; read line; fg'
    running.replace_command("/bin/bash", "-mc", script, "bash", *running.command)
    running.start(terminal=True, size=SIZE)
    running.await_text("test_a.py::test_2\x1b[K")
    running.press(b"\x1a")
    running.await_text("the shell")
    window = Window().show(running.written())
    assert not BLOCK.search(window.text)
    running.press(b"\n")
    running.release("a")
    running.await_text("test_a.py::test_3\x1b[K")
    running.release("b")
    running.end()
    assert not BLOCK.search(window.show(running.written()).text)


def test_a_window_that_grows_and_shrinks_leaves_nothing_behind(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=HELD)
    running = begun(stage, gates=("a", "b"), workers=1)
    running.await_text("test_a.py::test_2\x1b[K")
    window = Window().show(running.written())
    window.screen.resize(lines=12, columns=40)
    running.resize(40, 12)
    running.release("a")
    running.await_text("test_a.py::test_3\x1b[K")
    window.show(running.written())
    assert len(BLOCK.findall(window.text)) == 1
    window.screen.resize(lines=30, columns=100)
    running.resize(100, 30)
    running.release("b")
    running.end()
    assert not BLOCK.search(window.show(running.written()).text)


NOT = {
    "dumb": ({"TERM": "dumb"}, []),
    "unnamed": ({"TERM": ""}, []),
    "in CI": ({"CI": "true"}, []),
    "quiet": ({}, ["-q"]),
    "classic": ({}, ["-o", "console_output_style=classic"]),
    "off": ({}, ["--braid-progress=off"]),
    "off in the ini file": ({}, ["-o", "braid_progress=off"]),
}


@pytest.mark.parametrize(("env", "args"), NOT.values(), ids=NOT)
def test_there_is_none_where_none_is_wanted(
    stage: Stage, env: dict[str, str], args: list[str]
) -> None:
    stage.env |= env
    stage.write(conftest=AT_ONCE, test_a=EVERYTHING)
    assert "\x1b7" not in ended(stage, *args).written()


def test_a_window_without_room_has_none(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=EVERYTHING)
    assert "\x1b7" not in ended(stage, size=(29, 24)).written()
    assert "\x1b7" not in ended(stage, size=(80, 5)).written()


def test_a_quiet_run_that_wants_it_has_one_line(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=HELD)
    running = begun(stage, "-q", "--braid-progress=on", gates=("a", "b"), workers=1)
    running.await_text("25% of 4 tests")
    text = seen(running)
    assert BLOCK.search(text)
    assert "test_2" not in text
    running.release("a")
    running.release("b")
    running.end()


def test_with_a_count_instead_of_percent(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=HELD)
    args = ("-o", "console_output_style=count")
    running = begun(stage, *args, gates=("a", "b"), workers=1)
    running.await_text("1/4 tests")
    running.release("a")
    running.release("b")
    running.end()


def test_without_colours_the_block_has_none(stage: Stage) -> None:
    stage.env["NO_COLOR"] = "1"
    stage.write(conftest=AT_ONCE, test_a=EVERYTHING)
    written = ended(stage).written()
    assert "\x1b7" in written
    assert not re.search(r"\x1b\[\d+m", written)


def test_another_reporter_is_left_alone(stage: Stage) -> None:
    stage.write(
        conftest=AT_ONCE
        + """
    from _pytest.terminal import TerminalReporter
    class Own(TerminalReporter): pass
    @pytest.hookimpl(trylast=True)
    def pytest_configure(config):
        old = config.pluginmanager.getplugin("terminalreporter")
        config.pluginmanager.unregister(old)
        config.pluginmanager.register(Own(config), "terminalreporter")
""",
        test_a=EVERYTHING,
    )
    assert "\x1b7" not in ended(stage).written()


# --- elsewhere than on a terminal -----------------------------------------------------------------


def test_a_log_has_no_escapes_and_nothing_new(stage: Stage) -> None:
    stage.write(conftest=AT_ONCE, test_a=EVERYTHING)
    run = stage.run()
    assert "\x1b" not in run.text
    assert "braid: 0%" not in run.text


@pytest.mark.parametrize("args", [[], ["--braid-progress=on"], ["-q", "--braid-progress=on"]])
def test_a_log_gets_lines_when_nothing_ends(stage: Stage, args: list[str]) -> None:
    stage.write(conftest=SOON, test_a=HELD)
    running = stage.prepare(*args, workers=1)
    running.gate("a", "b")
    running.start(piped=True)
    running.await_text("test_a.py::test_2 (gw0, ")
    running.release("a")
    running.release("b")
    found = running.end().text
    line = r"^braid: 25% of 4 tests, \d+ s; running: test_a\.py::test_2 \(gw0, \d+ s\)$"
    assert re.search(line, found, re.MULTILINE)
    assert "\x1b" not in found


@pytest.mark.parametrize("args", [["-q"], ["--braid-progress=off"]])
def test_a_log_gets_none_where_none_is_wanted(stage: Stage, args: list[str]) -> None:
    stage.write(conftest=SOON, test_a="import time\ndef test_1(): time.sleep(0.3)")
    assert "braid:" not in stage.run(*args).text


def test_another_word_is_refused(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    run = stage.run("-o", "braid_progress=always")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert "the ini option braid_progress: 'always' is not one of auto, on, off" in run.errors
