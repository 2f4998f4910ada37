"""Suites, written to disk: the same bytes for the same size, on every machine.

``size`` scales the number of tests, modules or seconds: 1.0 for the full benchmark, less for the
quick one and for tests.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

WORK = dedent('''\
    """What the tests of this suite do."""
    import time


    def burn(seconds):
        """Spend CPU time of this thread: as much of it on a busy machine as on an idle one."""
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            for _ in range(1_000):
                pass
    ''')


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of suite, and how many workers it is run with."""

    name: str
    about: str
    workers: int
    write: Callable[[Path, float], int]
    """Writes the suite into an existing directory and returns its number of tests."""


def trivial(directory: Path, size: float) -> int:
    """100 tests a module, each ``assert True``; 50 modules."""
    return _write_modules(directory, ["assert True"] * scaled(5_000, size), per_module=100)


def many(directory: Path, size: float) -> int:
    """1,000 parameters a module, ``assert True``; 50 modules."""
    modules, parameters = 50, scaled(1_000, size)
    _write_support(directory)
    body = dedent(f"""\
        import pytest


        @pytest.mark.parametrize("n", range({parameters}))
        def test_one(n):
            assert True
        """)
    for number in range(modules):
        (directory / f"test_{number:03}.py").write_text(body)
    return modules * parameters


def heavy(directory: Path, size: float) -> int:
    """200 small tests of a package of about a second of import CPU and 60 MB of heap."""
    return _write_heavy(directory, size, linger=0.0)


def lingering(directory: Path, size: float) -> int:
    """The heavy suite with 20 ms of sleep per test, so that all workers are alive at once."""
    return _write_heavy(directory, size, linger=0.02)


def uneven(directory: Path, size: float) -> int:
    """100 tests of 25 ms CPU on average, exponentially distributed."""
    amounts = random.Random(1)
    bodies = [f"burn({amounts.expovariate(40):.4f})" for _ in range(scaled(100, size))]
    return _write_modules(directory, bodies, per_module=10)


def blocking(directory: Path, size: float) -> int:
    """100 tests that wait 5 to 45 ms, as for a server."""
    waits = random.Random(2)
    bodies = [f"time.sleep({waits.uniform(0.005, 0.045):.4f})" for _ in range(scaled(100, size))]
    return _write_modules(directory, bodies, per_module=10)


def shared_setup(directory: Path, size: float) -> int:
    """60 tests that wait 0.05 s and use a session fixture of 3 s, which writes down that it is set
    up and torn down."""
    tests = scaled(60, size)
    _write_support(directory)
    (directory / "test_once.py").write_text(
        dedent(f"""\
        import os
        import time

        import pytest


        def note(text):
            with open(os.path.join(os.path.dirname(__file__), "setups.txt"), "a") as file:
                file.write(text + "\\n")


        @pytest.fixture(scope="session")
        def server():
            time.sleep(3)
            note("set up")
            yield 1
            note("torn down")


        @pytest.mark.parametrize("n", range({tests}))
        def test_it(server, n):
            time.sleep(0.05)
        """)
    )
    return tests


def shared_value(directory: Path, size: float) -> int:
    """4 tests, in as many workers, that use a value of 100 MB. When it was made, and when each has
    it, is written down in seconds of the monotonic clock."""
    _write_support(directory)
    (directory / "test_large.py").write_text(
        dedent(f"""\
        import os
        import time

        import pytest

        HERE = os.path.dirname(__file__)


        def note(name):
            with open(os.path.join(HERE, name + ".at"), "w") as file:
                file.write(str(time.monotonic()))


        @pytest.fixture(scope="session")
        def value():
            made = bytearray({scaled(100_000_000, size)})
            note("made")
            return made


        @pytest.mark.parametrize("n", range(4))
        def test_it(value, n):
            note(f"had-{{n}}")
            while sum(name.startswith("had") for name in os.listdir(HERE)) < 4:
                time.sleep(0.005)
        """)
    )
    return 4


def waiting(directory: Path, size: float) -> int:
    """200 tests that wait 0.1 s, each behind a fixture that waits 0.05 s; the session's writes down
    that it is set up."""
    tests = scaled(200, size)
    _write_support(directory)
    (directory / "conftest.py").write_text(
        dedent("""\
        import os
        import time

        import pytest


        @pytest.fixture(scope="session")
        def once():
            with open(os.path.join(os.path.dirname(__file__), "setups.txt"), "a") as file:
                file.write("set up\\n")


        @pytest.fixture
        def waits(once):
            time.sleep(0.05)
        """)
    )
    bodies = (f"def test_{n:04}(waits):\n    time.sleep(0.1)\n" for n in range(tests))
    (directory / "test_000.py").write_text("import time\n\n\n" + "\n\n".join(bodies))
    return tests


def long_last(directory: Path, size: float) -> int:
    """60 tests of 20 ms CPU, then one of 1.5 s: good packing starts with the last."""
    bodies = ["burn(0.02)"] * scaled(60, size) + [f"burn({1.5 * size:.4f})"]
    return _write_modules(directory, bodies, per_module=10)


def module_fixture(directory: Path, size: float) -> int:
    """6 modules, each with a module fixture of 50 ms CPU, 4 parameters and 20 tests."""
    modules, parameters, tests = scaled(6, size), 4, 20
    fixture = dedent(f"""\
        import pytest
        from work import burn


        @pytest.fixture(scope="module", params=range({parameters}))
        def table(request):
            burn(0.05)
            return request.param


        """)
    bodies = [
        f"def test_{n:04}(table):\n    assert table in range({parameters})\n" for n in range(tests)
    ]
    _write_support(directory)
    for number in range(modules):
        (directory / f"test_{number:03}.py").write_text(fixture + "\n\n".join(bodies))
    return modules * parameters * tests


def late(directory: Path, size: float) -> int:
    """120 tests that wait 0.1 s, then one that waits 6 s."""
    bodies = ["time.sleep(0.1)"] * scaled(120, size)
    return _write_modules(directory, [*bodies, f"time.sleep({6 * size:.4f})"], per_module=200)


def parameters(directory: Path, size: float) -> int:
    """A module fixture with ten parameters that waits 0.2 s, and 20 tests of each."""
    tests, count = scaled(20, size), 10
    _write_support(directory)
    (directory / "test_000.py").write_text(
        dedent(f"""\
        import time

        import pytest


        @pytest.fixture(scope="module", params=range({count}))
        def dear(request):
            time.sleep(0.2)
            return request.param


        @pytest.mark.parametrize("n", range({tests}))
        def test_one(dear, n):
            assert dear in range({count})
        """)
    )
    return tests * count


def sleeping(directory: Path, size: float) -> int:
    """200 tests that wait 0.15 s."""
    return _write_modules(directory, ["time.sleep(0.15)"] * scaled(200, size), per_module=50)


def mixed(directory: Path, size: float) -> int:
    """The suites ``uneven`` and ``blocking``, and as many async tests that wait as long."""
    amounts, waits, count = random.Random(1), random.Random(2), scaled(100, size)
    burns = [f"burn({amounts.expovariate(40):.4f})" for _ in range(count)]
    pauses = [waits.uniform(0.005, 0.045) for _ in range(count)]
    blocks = [f"time.sleep({pause:.4f})" for pause in pauses]
    awaits = [f"await asyncio.sleep({pause:.4f})" for pause in pauses]
    tests = _write_modules(directory, [*burns, *blocks], per_module=10)
    write_ini(directory, "pythonpath = .", "asyncio_mode = auto")
    for first in range(0, count, 10):
        bodies = [
            f"async def test_{number:03}():\n    {body}\n"
            for number, body in enumerate(awaits[first : first + 10])
        ]
        file = directory / f"test_async_{first // 10:03}.py"
        file.write_text("\n\n".join(["import asyncio\n", *bodies]))
    return tests + count


def crashing(directory: Path, size: float) -> int:
    """100 tests that wait 10 ms; the one in the middle kills its process."""
    bodies = ["time.sleep(0.01)"] * scaled(100, size)
    bodies[len(bodies) // 2] = "os.kill(os.getpid(), signal.SIGKILL)"
    return _write_modules(directory, bodies, per_module=10)


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("trivial", "assert True", 2, trivial),
        Scenario("heavy", "heavy imports", 8, heavy),
        Scenario("uneven", "random CPU", 2, uneven),
        Scenario("blocking", "blocking I/O", 8, blocking),
        Scenario("long_last", "one long test last", 2, long_last),
        Scenario("module_fixture", "parametrized module fixture", 2, module_fixture),
    )
}
LINGERING = Scenario("lingering", "heavy imports, waiting", 6, lingering)
MANY = Scenario("many", "50,000 parametrized tests", 2, many)
WAITING = Scenario("waiting", "sleeping tests and fixtures", 1, waiting)
LATE = Scenario("late", "one long test last, waiting", 2, late)
PARAMETERS = Scenario("parameters", "ten parameters of a module fixture", 2, parameters)
SLEEPING = Scenario("sleeping", "200 sleeping tests", 2, sleeping)
MIXED = Scenario("mixed", "CPU, blocking and async", 2, mixed)
CRASHING = Scenario("crashing", "a test kills its process", 2, crashing)
ONCE = Scenario("once", "a session fixture of 3 s", 8, shared_setup)
LARGE = Scenario("large", "a session fixture of 100 MB", 4, shared_value)


def scaled(count: int, size: float) -> int:
    return max(1, round(count * size))


def write_ini(directory: Path, *lines: str) -> None:
    """The ini file makes the directory pytest's rootdir, whatever lies above it."""
    (directory / "pytest.ini").write_text("\n".join(["[pytest]", *lines, ""]))


def _write_support(directory: Path) -> None:
    write_ini(directory, "pythonpath = .")
    (directory / "work.py").write_text(WORK)


def _write_modules(
    directory: Path, bodies: Sequence[str], *, per_module: int, imports: str = ""
) -> int:
    """Write one test per body, its one statement; return how many."""
    _write_support(directory)
    header = f"import os\nimport signal\nimport time\n\nfrom work import burn\n{imports}\n\n"
    for first in range(0, len(bodies), per_module):
        tests = (
            f"def test_{number:04}():\n    {body}\n"
            for number, body in enumerate(bodies[first : first + per_module], first)
        )
        path = directory / f"test_{first // per_module:03}.py"
        path.write_text(header + "\n\n".join(tests))
    return len(bodies)


HEAVY_MODULES = 120


def _write_heavy(directory: Path, size: float, *, linger: float) -> int:
    modules = scaled(HEAVY_MODULES, size)
    package = directory / "heavy"
    package.mkdir()
    for number in range(modules):
        (package / f"m{number:03}.py").write_text(_heavy_module(number))
    imports = "".join(f"from heavy import m{number:03}\n" for number in range(modules))
    (package / "__init__.py").write_text(imports)
    bodies = [
        f"time.sleep({linger}); assert m{n % modules:03}.Record{n % 20}().grow_{n % 10}(7) >= 0"
        for n in range(scaled(200, size))
    ]
    return _write_modules(directory, bodies, per_module=10, imports=imports)


def _heavy_module(number: int) -> str:
    """What costs in real imports: dataclasses, an enum, a pattern, a table, much bytecode."""
    header = dedent(f"""\
        import dataclasses
        import enum
        import re

        PATTERN = re.compile(r"(?P<key>[a-z]+{number})=(?P<value>\\d+|'[^']*')(,\\s*(?P<rest>.*))?")
        TABLE = {{f"{number}-{{i}}": (i, float(i), [str(i)]) for i in range(200)}}
        Kind = enum.Enum("Kind", [f"K{{i}}" for i in range(20)])
        """)
    return header + "".join(_heavy_class(name) for name in range(20))


def _heavy_class(name: int) -> str:
    methods = "".join(
        f"""
    def grow_{factor}(self, value: int, *, factor: int = {factor}) -> int:
        \"\"\"Return the value, larger.\"\"\"
        if value > {factor}:
            return value * factor + self.size
        return value + {factor}
"""
        for factor in range(10)
    )
    return f"""

@dataclasses.dataclass(frozen=True)
class Record{name}:
    \"\"\"A record of size {name}.\"\"\"

    name: str = "record {name}"
    size: int = {name}
    kind: Kind = Kind.K{name}
{methods}"""
