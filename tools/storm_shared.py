"""Fault storms for fixtures that the whole run shares: in each run something goes wrong at some
point, and every shared fixture must have been set up and torn down exactly once, or never.

    python tools/storm_shared.py --runs 200 --seed 1

Run ``i`` has the seed ``seed + i``, which makes its suite, its options and what goes wrong: a test
or several that crash, a failure with ``-x``, Ctrl-C, a setup that fails or skips. What the fixtures
note themselves is counted, and no process, file in shared memory or temporary file may be left. Of
a run with a difference the folder is kept.

Exit code 0 if every run was as it must be, 1 if one was not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select
from typing import NamedTuple

import psutil

WALL = 120.0
"""Seconds after which a run is told not to end."""

GONE = 5.0
"""Seconds in which the processes of a run are gone after its controller."""

_MARKER = "STORM_RUN"

FAULTS = ("crash", "crashes", "exitfirst", "interrupt", "interrupt in setup", "fails", "skips")

OPTIONS = (
    ["-n2"],
    ["-n3"],
    ["-n3", "--dist=worksteal"],
    ["-n2", "--dist=loadfile"],
    ["-n2", "--forked"],
    ["-n2", "--max-tests-per-worker=2"],
    ["-n2", "--threads=2"],
    ["-n2", "--dist=each"],
    ["-n2", "--start-method=spawn"],
)

CONFTEST = """
import os, signal, pytest, pytest_braid

def note(text):
    with open(os.environ["STORM_NOTES"], "a") as file:
        file.write(text + "\\n")
    told = os.open(os.environ["STORM_TOLD"], os.O_WRONLY)
    os.write(told, (text + "\\n").encode())
    os.close(told)
"""

FIXTURE = """
@pytest_braid.shared_fixture
def {name}({made_of}):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # what is noted is to be true
    note("up {name}")
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        {fault}
        yield "{name}"
    finally:
        note("down {name}")
"""


class Plan(NamedTuple):
    """One run. ``at`` is the number of notes after which Ctrl-C comes, ``None`` if it does not."""

    seed: int
    fault: str
    options: list[str]
    files: dict[str, str]
    at: int | None


class Outcome(NamedTuple):
    """What came of it."""

    plan: Plan
    exit: int | None
    differences: list[str]


def plan_of(seed: int) -> Plan:
    """The run of this seed."""
    draw = random.Random(seed)
    fault = draw.choice(FAULTS)
    names = "abc"[: draw.randint(1, 3)]
    broken = draw.choice(names)
    stops = {"fails": 'raise OSError("broken")', "skips": 'pytest.skip("not here")'}
    conftest = CONFTEST
    for number, name in enumerate(names):
        made_of = draw.sample(names[:number], draw.randint(0, number))
        step = stops.get(fault, "pass") if name == broken else "pass"
        conftest += FIXTURE.format(name=name, made_of=", ".join(made_of), fault=step)
    count = draw.randint(4, 12)
    culprits = draw.sample(range(count), {"crash": 1, "crashes": 3, "exitfirst": 1}.get(fault, 0))
    files = {"conftest.py": conftest}
    for number in range(count):
        uses = ", ".join(draw.sample(names, draw.randint(0, len(names))))
        body = _body(fault, draw) if number in culprits else "pass"
        name = f"test_{number % 2}.py"
        files.setdefault(name, "import os, signal\nfrom conftest import note\n")
        files[name] += f"def test_{number}({uses}):\n    note('ran')\n    {body}\n"
    options = [*draw.choice(OPTIONS), *(["-x"] if fault == "exitfirst" else [])]
    at = None
    if fault.startswith("interrupt"):
        at = 1 if fault == "interrupt in setup" else draw.randint(1, count)
    return Plan(seed, fault, options, files, at)


def _body(fault: str, draw: random.Random) -> str:
    if fault == "exitfirst":
        return "assert False"
    ends = ("os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "os.abort()")
    return draw.choice(ends)


def run(plan: Plan, folder: Path) -> Outcome:
    """Run it in a new folder, and say what is not as it must be."""
    (folder / "suite").mkdir(parents=True)
    (folder / "tmp").mkdir()
    for name, text in plan.files.items():
        (folder / "suite" / name).write_text(text, encoding="utf-8")
    marker = uuid.uuid4().hex
    before = _memory()
    status = _bounded(plan, folder, marker)
    differences = [*differences_of(plan, folder / "notes", status)]
    _, left = psutil.wait_procs(_processes(marker), GONE)
    for process in left:
        differences.append(f"left: {process}")
        with contextlib.suppress(psutil.Error):
            process.kill()
    differences += [f"left in shared memory: {name}" for name in sorted(_memory() - before)]
    differences += [f"left: {path}" for path in (folder / "tmp").iterdir()]
    return Outcome(plan, status, differences)


def _bounded(plan: Plan, folder: Path, marker: str) -> int | None:
    told = folder / "told"
    os.mkfifo(told)
    descriptor = os.open(told, os.O_RDWR)  # both, so that it has a reader and a writer at all times
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    env = inherited | {
        _MARKER: marker,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "STORM_NOTES": str(folder / "notes"),
        "STORM_TOLD": str(told),
        "TMPDIR": str(folder / "tmp"),
    }
    command = [sys.executable, "-m", "pytest", "-p", "braid", "-p", "no:cacheprovider"]
    command += [f"--basetemp={folder / 'base'}", *plan.options]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder / "suite",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if plan.at is not None and _hears(descriptor, plan.at, process):
                os.killpg(process.pid, signal.SIGINT)
            return _wait(process, descriptor)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(descriptor)


def _hears(descriptor: int, count: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait for so many notes, or for the end of the run."""
    heard = 0
    with contextlib.suppress(ProcessLookupError):
        ending = os.pidfd_open(process.pid)
        try:
            while heard < count:
                ready, _, _ = select([descriptor, ending], [], [], WALL)
                if descriptor not in ready:
                    return False
                heard += os.read(descriptor, 1 << 16).count(b"\n")
        finally:
            os.close(ending)
    return True


def _wait(process: subprocess.Popen[bytes], descriptor: int) -> int | None:
    """For its end; meanwhile its notes are read, or it would wait for that."""
    ending = os.pidfd_open(process.pid)
    try:
        while True:
            ready, _, _ = select([descriptor, ending], [], [], WALL)
            if ending in ready:
                return process.wait()
            if not ready:
                return None
            os.read(descriptor, 1 << 16)
    finally:
        os.close(ending)


def differences_of(plan: Plan, path: Path, status: int | None) -> list[str]:
    """What is not as it must be in what the fixtures have noted, and in how the run ended."""
    if status is None:
        return ["the run did not end"]
    planned = {0, 1, 2} if plan.at is not None else {0, 1}
    found = [] if status in planned else [f"exit code {status}"]
    noted = path.read_text().splitlines() if path.exists() else []
    count = Counter(noted)
    for name in "abc":
        ups, downs = count[f"up {name}"], count[f"down {name}"]
        if ups > 1 or downs != ups:
            found.append(f"fixture {name!r}: set up {ups} times, torn down {downs} times")
        elif ups and noted.index(f"up {name}") > noted.index(f"down {name}"):
            found.append(f"fixture {name!r}: torn down before it was set up")
    return found


def _processes(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARKER) == marker:
                found.append(process)
    return found


def _memory() -> set[str]:
    """Names in shared memory that could be ours."""
    try:
        return {name for name in os.listdir("/dev/shm") if "braid" in name}  # noqa: PTH208, S108
    except OSError:
        return set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, check, print; the exit code is described above."""
    parser = argparse.ArgumentParser(description="Run fault storms for shared fixtures.")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--folder", help="where to keep all of them")
    asked = parser.parse_args(arguments)
    base = Path(asked.folder or tempfile.mkdtemp(prefix="storm-shared-")).resolve()
    failed: list[int] = []
    faults: Counter[str] = Counter()
    with ThreadPoolExecutor(asked.jobs) as pool:
        plans = [plan_of(seed) for seed in range(asked.seed, asked.seed + asked.runs)]
        for outcome in pool.map(lambda plan: run(plan, base / str(plan.seed)), plans):
            plan = outcome.plan
            faults[plan.fault] += 1
            if outcome.differences:
                failed.append(plan.seed)
                where = base / str(plan.seed)
                print(f"seed {plan.seed}: {plan.fault}, {' '.join(plan.options)}: {where}")
                for text in outcome.differences:
                    print(f"  {text}")
            elif not asked.folder:
                shutil.rmtree(base / str(plan.seed))
    if not failed and not asked.folder:
        shutil.rmtree(base)
    kinds = ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items()))
    wrong = f"; not so: seeds {failed}" if failed else ""
    print(f"{asked.runs - len(failed)} of {asked.runs} runs as they must be ({kinds}){wrong}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
