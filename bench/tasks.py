"""What async tests cost as tasks, and what they gain.

pytest-asyncio and pytest-asyncio-cooperative, the peers, have environments of their own: they
exclude each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

from bench.contenders import BRAID, PLAIN, Contender, Installed, install
from bench.figures import Spread, spread
from bench.latency import largest_overlap, parse_log
from bench.measure import BenchError
from bench.stage import Stage
from bench.suites import Scenario, scaled, write_ini

ASYNCIO = Contender("asyncio", ("pytest-asyncio",))
COOPERATIVE = Contender("cooperative", ("pytest-asyncio-cooperative",))

TASKS = 200


def waiting_tasks(directory: Path, size: float) -> int:
    """200 async tests that wait 0.1 s, each behind an async fixture that waits 0.05 s."""
    tests = scaled(200, size)
    write_ini(directory)
    head = dedent("""\
        import asyncio

        import pytest


        @pytest.fixture
        async def waits():
            await asyncio.sleep(0.05)
            yield
        """)
    bodies = [
        dedent(f"""\
        @pytest.mark.asyncio_cooperative
        async def test_{n:04}(waits):
            await asyncio.sleep(0.1)
        """)
        for n in range(tests)
    ]
    (directory / "test_000.py").write_text("\n\n".join([head, *bodies]))
    return tests


def trivial_tasks(directory: Path, size: float) -> int:
    """5,000 async tests that do nothing, 100 a module."""
    modules, tests = scaled(50, size), 100
    write_ini(directory, "asyncio_mode = auto", "asyncio_default_fixture_loop_scope = function")
    body = "\n\n".join(f"async def test_{n:03}():\n    assert True\n" for n in range(tests))
    for number in range(modules):
        (directory / f"test_{number:03}.py").write_text(body)
    return modules * tests


def many_fixtures(directory: Path, size: float) -> int:
    """1,000 async tests that all wait for each other, with three async fixtures each; the largest
    resident memory is written down where 1 and where all of them live."""
    tests = scaled(1_000, size)
    write_ini(directory)
    (directory / "test_000.py").write_text(
        dedent(f"""\
        import asyncio
        import os

        import pytest

        here, all_are_here = [], asyncio.Event()


        @pytest.fixture
        async def one():
            await asyncio.sleep(0)
            yield 1


        @pytest.fixture
        async def two(one):
            await asyncio.sleep(0)
            yield one + 1


        @pytest.fixture
        async def three(two):
            await asyncio.sleep(0)
            return two + 1


        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


        @pytest.mark.parametrize("n", range({tests}))
        async def test_it(n, one, two, three):
            here.append(resident())
            if len(here) == {tests}:
                with open(os.path.join(os.path.dirname(__file__), "memory.txt"), "w") as file:
                    file.write(str((here[-1] - here[0]) / {tests}))
                all_are_here.set()
            await all_are_here.wait()
            assert (one, two, three) == (1, 2, 3)
        """)
    )
    return tests


def one_sleep(directory: Path, size: float) -> int:
    """One async test that sleeps 4 s; how often its loop wakes up is written down."""
    write_ini(directory)
    (directory / "test_000.py").write_text(
        dedent(f"""\
        import asyncio
        import os


        async def test_it():
            loop, times = asyncio.get_running_loop(), []
            select = loop._selector.select
            loop._selector.select = lambda timeout: (times.append(1), select(timeout))[1]
            await asyncio.sleep({4 * size})
            loop._selector.select = select
            with open(os.path.join(os.path.dirname(__file__), "wakeups.txt"), "w") as file:
                file.write(str(len(times)))
        """)
    )
    return 1


def tasks(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Seconds of wall above plain's collection of 200 async tests that wait, all at once.

    :raises BenchError: if not all of them overlapped.
    """
    installed = {**_plain_and_braid(contenders), **install([COOPERATIVE])}
    stage = _stage("waiting_tasks", waiting_tasks, installed, directory, size)
    log = directory / "tasks.jsonl"

    def braid() -> float:
        log.unlink(missing_ok=True)
        wall = stage.run(BRAID.name, f"--tasks={TASKS}", f"--braid-log={log}").wall
        overlap = largest_overlap(parse_log(log.read_text()))
        if overlap < stage.tests:
            raise BenchError(f"{overlap} of {stage.tests} tests overlapped")
        return wall

    def one_round() -> dict[str, float]:
        collection = stage.collect().wall
        other = stage.run(COOPERATIVE.name, f"--max-asyncio-tasks={TASKS}").wall
        return {"--tasks 200": braid() - collection, COOPERATIVE.name: other - collection}

    return _rounds(one_round, rounds)


def task_cpu(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """CPU of the tree for 5,000 trivial async tests, by that of pytest-asyncio in a serial run."""
    installed = {**_plain_and_braid(contenders), **install([ASYNCIO])}
    stage = _stage("trivial_tasks", trivial_tasks, installed, directory, size)

    def one_round() -> dict[str, float]:
        serial = stage.run(ASYNCIO.name).cpu
        return {"--tasks": stage.run(BRAID.name, "--tasks=100").cpu / serial}

    return _rounds(one_round, rounds)


def task_memory(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """Bytes of memory for each of 1,000 async tests that live at once."""
    stage = _stage("many_fixtures", many_fixtures, _plain_and_braid(contenders), directory, size)

    def one_round() -> dict[str, float]:
        stage.run(BRAID.name, "--tasks=1000")
        return {"--tasks 1000": float((stage.suite(BRAID.name) / "memory.txt").read_text())}

    return _rounds(one_round, rounds)


def task_wakeups(
    contenders: Mapping[str, Installed], directory: Path, *, rounds: int, size: float = 1.0
) -> dict[str, Spread]:
    """How often the event loop wakes up while its only test sleeps for four seconds."""
    stage = _stage("one_sleep", one_sleep, _plain_and_braid(contenders), directory, size)

    def one_round() -> dict[str, float]:
        stage.run(BRAID.name, "--tasks=100")
        return {"--tasks": float((stage.suite(BRAID.name) / "wakeups.txt").read_text())}

    return _rounds(one_round, rounds)


def _stage(
    name: str,
    write: Callable[[Path, float], int],
    contenders: Mapping[str, Installed],
    directory: Path,
    size: float,
) -> Stage:
    scenario = Scenario(name, name, 1, write)
    return Stage(scenario, contenders, directory, size, workers=1)


def _plain_and_braid(contenders: Mapping[str, Installed]) -> dict[str, Installed]:
    if BRAID.name not in contenders:
        raise BenchError("only braid runs tests as tasks")
    return {name: contenders[name] for name in (PLAIN.name, BRAID.name)}


def _rounds(one_round: Callable[[], dict[str, float]], rounds: int) -> dict[str, Spread]:
    one_round()  # warms up
    measured = [one_round() for _ in range(rounds)]
    return {name: spread(one[name] for one in measured) for name in measured[0]}
