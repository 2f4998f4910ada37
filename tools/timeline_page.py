"""Opens the timeline of 50,000 tests in a headless Chromium and measures it.

python tools/timeline_page.py                       makes a log by chance, and its page
python tools/timeline_page.py --page run.html       measures a page that is there
python tools/timeline_page.py --screenshot FOLDER   writes pictures of it to look at

Needs Chromium or Chrome, and nothing else: it talks to it over a pair of pipes. What is told: the
time until the whole run is drawn, the times of frames while the page zooms and moves, and how
long a search takes. Exit code 1: slower than what is asked for (``OPENS``, ``FRAME``), or the page
has written an error.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pytest_braid.control.log import EventLog
from pytest_braid.model import commands as c
from pytest_braid.model import events as e
from pytest_braid.report.reading import read_log
from pytest_braid.report.story import Story
from pytest_braid.report.timeline import write_timeline

OPENS = 2.0
"""Seconds in which a page is to be there."""

FRAME = 50.0
"""Milliseconds that 19 of 20 frames may take at most. At 60 frames a second one is 16.7."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "chrome-headless-shell")

_WIRE = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, place in zip(high, (3, 4)):  # where it looks for its pipes
    os.dup2(number, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""

_ZOOM = """
new Promise((done) => {
  const frames = [], painted = [];
  const real = paint;
  paint = () => { const at = performance.now(); real(); painted.push(performance.now() - at); };
  let turn = 0, last = performance.now();
  const move = () => {
    const now = performance.now(); frames.push(now - last); last = now;
    turn++;
    if (turn < 90) zoom(0.93, LENGTH * 0.4);            // in, from the whole run to a second of it
    else if (turn < 150) pan(0.04);
    else if (turn < 240) zoom(1 / 0.93, LENGTH * 0.6);  // and out again
    else { paint = real; done({ frames: frames.slice(1), painted }); return; }
    requestAnimationFrame(move);
  };
  requestAnimationFrame(move);
})
"""

_SEARCH = """
(() => {
  const at = performance.now();
  document.getElementById("search").value = "test_7 42";
  look(); paint();
  return { took: performance.now() - at, found: found.length };
})()
"""


def make_log(path: Path, tests: int, workers: int, strands: int) -> None:
    """A run by chance: short tests for the most part, with some long, failing, skipped ones."""
    chance = random.Random(0)
    log = EventLog(path)
    now = 1000.0
    log.event(
        e.RunStarted(
            run="made",
            workers=workers,
            mode="load",
            wall=time.time(),
            at=now,
            threads=strands if strands > 1 else 0,
        )
    )
    nodeids = tuple(
        f"tests/unit/area_{n // 2500}/test_{n // 50}.py::TestThings::test_{n % 50}[{n}-value]"
        for n in range(tests)
    )
    log.event(e.TestsCollected(nodeids=nodeids, at=now + 2))
    free: list[tuple[float, int, int]] = []
    for worker in range(workers):
        log.command(c.StartWorker(worker), now + 2)
        log.event(e.WorkerReady(worker=worker, at=now + 2.02))
        free += [(now + 2.02, worker, strand) for strand in range(1, strands + 1)]
    for test in range(tests):
        free.sort()
        at, worker, strand = free[0]
        strand = strand if strands > 1 else 0
        length = chance.expovariate(20) + chance.choices((0, chance.uniform(1, 8)), (500, 1))[0]
        outcome = chance.choices(("passed", "failed", "skipped"), (97, 1, 2))[0]
        log.command(c.Assign(worker, (test,)), at)
        log.event(e.Started(worker=worker, test=test, strand=strand, at=at))
        for when, share in (("setup", 0.2), ("call", 0.7), ("teardown", 0.1)):
            is_call = when == "call"
            log.event(
                e.Reported(
                    worker=worker,
                    test=test,
                    when=when,
                    outcome=outcome if is_call else "passed",
                    duration=length * share,
                    at=at,
                )
            )
        log.event(e.Finished(worker=worker, test=test, at=at + length))
        free[0] = (at + length + 0.0005, worker, strand or 1)
        if not (test + 1) % 5000:
            log.command(c.Wait(test, "resource 'db'", (test - 1,)), at)
            log.command(c.Assign(worker, (test,)), at + 3)
    last = max(free)[0]
    log.event(e.RunEnded(unfinished=(), at=last))
    log.close()


class Browser:
    """A headless browser, asked over pipes: a JSON message, then a zero byte."""

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, ours = os.pipe()
        theirs, from_browser = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--remote-debugging-pipe", "--window-size=1600,900", f"--user-data-dir={profile}"]
        flags.append("about:blank")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WIRE, str(to_browser), str(from_browser), program, *flags],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._out, self._in = os.fdopen(ours, "wb", buffering=0), os.fdopen(theirs, "rb")
        self._number = 0
        self._page = ""
        self._rest = b""
        self.errors: list[str] = []

    def open(self, address: str) -> None:
        """Open a page, and wait until it has said that it is there."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._page = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")
        self.ask("Runtime.enable")
        self.ask("Page.navigate", url=address)
        until = time.monotonic() + 60
        while not self.value("document.documentElement?.dataset.opened"):
            if time.monotonic() > until:
                raise TimeoutError(f"{address} was not there within 60 s: {self.errors}")

    def ask(self, method: str, **params: Any) -> Any:
        """Ask for something, and wait for the answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._page:
            message["sessionId"] = self._page
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(said["params"]["exceptionDetails"])[:500])
            if said.get("id") == self._number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return said["result"]

    def value(self, expression: str) -> Any:
        """What an expression of the page's has for a value."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def photograph(self, path: Path) -> None:
        picture = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(picture["data"]))

    def _read(self) -> Any:
        while b"\0" not in self._rest:
            data = self._in.read1(1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._page = ""
            self.ask("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._out.close()
        self._in.close()


@contextlib.contextmanager
def browser(program: str) -> Iterator[Browser]:
    """One that is closed again, and its profile removed."""
    profile = Path(tempfile.mkdtemp(prefix="braid-browser-"))
    found = Browser(program, profile)
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(profile, ignore_errors=True)


def measure(program: str, page: Path, rounds: int, pictures: Path | None) -> dict[str, Any]:
    """Each opening in a browser of its own, nothing in a cache. Times in milliseconds."""
    opened, frames, painted, searches, errors = [], [], [], [], []
    for turn in range(rounds):
        with browser(program) as it:
            it.open(page.as_uri())
            opened.append(float(it.value("document.documentElement.dataset.opened")))
            if pictures is not None and not turn:
                _photograph(it, pictures)
            moved = it.value(_ZOOM)
            frames += moved["frames"]
            painted += moved["painted"]
            searches.append(it.value(_SEARCH)["took"])
            errors += it.errors
    return {
        "opened": median(opened),
        "frame": median(frames),
        "frame95": _at(frames, 0.95),
        "longest": max(frames),
        "painted95": _at(painted, 0.95),
        "search": median(searches),
        "errors": errors,
    }


def _photograph(it: Browser, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    it.photograph(folder / "whole.png")
    it.value("choose(found[0], true); 0")
    it.value(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"
    )
    it.photograph(folder / "test.png")
    it.value("document.getElementById('search').value = 'test_7 42'; look(); moveTo(0, LENGTH); 0")
    it.value(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"
    )
    it.photograph(folder / "search.png")
    it.value("document.getElementById('search').value = ''; look(); choose(-1); 0")


def _at(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--page", type=Path)
    parser.add_argument("--tests", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--strands", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--screenshot", type=Path, metavar="FOLDER")
    parser.add_argument("--browser", default=next(filter(shutil.which, BROWSERS), None))
    options = parser.parse_args(arguments)
    if options.browser is None:
        print(f"no browser found: install Chromium, or name one (--browser); looked for {BROWSERS}")
        return 2
    with tempfile.TemporaryDirectory(prefix="braid-timeline-") as folder:
        page = options.page or _made(Path(folder), options)
        found = measure(options.browser, page.resolve(), options.rounds, options.screenshot)
    print(
        f"opened in {found['opened'] / 1000:.2f} s (at most {OPENS:g}); frames while zooming: "
        f"median {found['frame']:.1f} ms, 95 % below {found['frame95']:.1f} ms (at most {FRAME:g}),"
        f" longest {found['longest']:.1f} ms; drawing: 95 % below {found['painted95']:.1f} ms; "
        f"a search: {found['search']:.0f} ms"
    )
    for error in found["errors"]:
        print(f"the page has written: {error}")
    slow = found["opened"] > 1000 * OPENS or found["frame95"] > FRAME
    return int(slow or bool(found["errors"]))


def _made(folder: Path, options: argparse.Namespace) -> Path:
    log, page = folder / "made.log", folder / "made.html"
    make_log(log, options.tests, options.workers, options.strands)
    began = time.perf_counter()
    story = Story()
    read_log(log, story)
    write_timeline(story, page)
    took = time.perf_counter() - began
    print(
        f"{options.tests} tests, a log of {log.stat().st_size / 1e6:.1f} MB: page of "
        f"{page.stat().st_size / 1e6:.1f} MB, made in {took:.2f} s"
    )
    return page


if __name__ == "__main__":
    sys.exit(main())
