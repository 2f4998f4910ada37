"""What users of pytest-asyncio-cooperative find here: under plain pytest, and with workers."""

from __future__ import annotations

import os
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import INSIDE
from tests.timeline import Timeline

SEED = Path(__file__).parents[1] / "seeds" / "pytest-asyncio-cooperative.rst"
"""The README, as it was published."""


def blocks(language: str) -> list[str]:
    """The code blocks of one language, without their indentation."""
    found = re.findall(
        rf"^\.\. code-block:: {language}\n(?: +:class: ignore\n)?\s*\n((?: {{3}}.*\n|\s*\n)+)",
        SEED.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    return [textwrap.dedent(block).strip() + "\n" for block in found]


SIMPLE, FIXTURES, LOCKED, DECORATED = blocks("python")

NEVER_DEFINED = {
    "access_shared_resource": "a function that the tests call",
    "my_fixture": "a name that the tests compare with 'XXX' and do not ask for",
    "service.http.on_handler": "what the tests patch",
    "mocker": "the fixture of pytest-mock",
    "decorator": "the package of this name",
}
"""What the README uses and defines nowhere."""

SUPPLIED = """
import builtins, unittest.mock
from e2e_notes import note
def access_shared_resource():
    import service.http
    note("accessed", type(service.http.on_handler).__name__)
builtins.access_shared_resource = access_shared_resource
builtins.my_fixture = "XXX"
"""

MOCKER = """
import pytest
@pytest.fixture
def mocker():
    with unittest.mock.patch("service.http.on_handler") as mock:
        class Mocker:
            def patch(self, name): return mock
        yield Mocker()
"""

DECORATOR = """
import functools, inspect
def decorator(caller, function):
    signature = inspect.signature(function)
    @functools.wraps(function)
    async def call(*args, **more):
        given = signature.bind(*args, **more)
        return await caller(function, *given.args, **given.kwargs)
    call.__signature__ = signature
    return call
"""


def supply(stage: Stage) -> None:
    (stage.path / "service").mkdir()
    (stage.path / "service" / "__init__.py").touch()
    (stage.path / "service" / "http.py").write_text("on_handler = None\n")
    has_mock = find_spec("pytest_mock") is not None
    plugin = 'pytest_plugins = ["pytest_mock"]\n' if has_mock else MOCKER
    (stage.path / "conftest.py").write_text(SUPPLIED + plugin)
    if find_spec("decorator") is None:
        (stage.path / "decorator.py").write_text(DECORATOR)


def logged(stage: Stage, *args: str) -> tuple[Ended, Timeline]:
    log = stage.base / "log.jsonl"
    run = stage.run(*args, f"--braid-log={log}", workers=None)
    return run, Timeline(log)


def test_each_block_is_found_and_the_texts_are_what_they_were() -> None:
    assert all(text.startswith(("import", "from")) for text in blocks("python"))
    assert blocks("bash") == [
        "========== 2 passed in 2.05 seconds ==========\n",
        "pip install pytest-asyncio-cooperative\n",
        "========== 2 passed in 4.05 seconds ==========\n",
    ]


@pytest.mark.parametrize(
    ("block", "count", "pairs"),
    [(SIMPLE, 2, 1), (FIXTURES, 1, 0), (LOCKED, 2, 0), (DECORATED, 2, 1)],
    ids=["simple", "fixtures", "locked", "decorated"],
)
def test_the_readmes_blocks_run_as_they_are(
    stage: Stage, block: str, count: int, pairs: int
) -> None:
    """And overlap, but for those with ``mocker``, which step aside."""
    supply(stage)
    (stage.path / "test_readme.py").write_text(block)
    run, timeline = logged(stage)
    assert run.counts == {"passed": count}, run.text
    assert run.exit == 0
    assert len(timeline.overlapping()) == pairs
    assert "braid: tests marked 'asyncio_cooperative' run as tasks, 100 at once\n" in run.text


def test_the_marks_of_classes_and_modules_and_of_a_conftest_count(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_collection_modifyitems(items):
            for item in items:
                if item.name == "test_by_conftest":
                    item.add_marker(pytest.mark.asyncio_cooperative)
        """,
        test_a="""
        import asyncio
        pytestmark = pytest.mark.asyncio_cooperative
        async def test_by_module(): await asyncio.sleep(0.01)
        """,
        test_b="""
        import asyncio
        @pytest.mark.asyncio_cooperative
        class TestIt:
            async def test_by_class(self): await asyncio.sleep(0.01)
        async def test_by_conftest(): await asyncio.sleep(0.01)
        """,
    )
    run = stage.run(workers=None)
    assert run.counts == {"passed": 3}, run.text


def test_an_async_test_without_the_mark_is_what_it_is_without_braid(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.asyncio_cooperative
        async def test_marked(): pass
        async def test_unmarked(): pass
        """
    )
    run, serial = stage.run(workers=None), stage.serial("-k", "unmarked")
    assert run.counts.get("failed", 0) == serial.counts.get("failed", 0)
    assert run.counts.get("skipped", 0) == serial.counts.get("skipped", 0)


@pytest.mark.parametrize("options", [[], ["-n2"], ["-n2", "--tasks=5"], ["-n0", "--threads=2"]])
def test_marked_tests_run_in_every_kind_of_run(stage: Stage, options: list[str]) -> None:
    stage.write(
        test_a="""
        import asyncio
        from pytest_asyncio_cooperative import Lock
        my_lock = Lock()
        inside = []
        @pytest.fixture
        async def lock():
            async with my_lock():
                inside.append(1)
                yield
                inside.remove(1)
        @pytest.mark.asyncio_cooperative
        @pytest.mark.parametrize("n", range(4))
        async def test_n(lock, n):
            await asyncio.sleep(0.01)
            assert len(inside) == 1
        @pytest.mark.asyncio_cooperative
        def test_sync(lock): assert inside
        def test_plain(): pass
        """
    )
    run = stage.run(*options, workers=None)
    assert run.counts == {"passed": 6}, run.text
    assert run.exit == 0


@pytest.mark.parametrize(
    ("options", "ini", "most"),
    [
        ([], "", 6),
        (["--max-asyncio-tasks=2"], "", 2),
        ([], "max_asyncio_tasks = 3", 3),
        (["--max-asyncio-tasks=2"], "max_asyncio_tasks = 3", 2),
        (["--tasks=4"], "max_asyncio_tasks = 3", 4),
    ],
)
def test_no_more_run_at_once_than_the_option_says(
    stage: Stage, options: list[str], ini: str, most: int
) -> None:
    (stage.path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    stage.write(
        test_a=f"""
        import asyncio
        running, largest = set(), []
        full = asyncio.Event()
        @pytest.mark.asyncio_cooperative
        @pytest.mark.parametrize("n", range(6))
        async def test_n(n):
            running.add(n)
            largest.append(len(running))
            if len(running) == {most}: full.set()
            await full.wait()
            await asyncio.sleep(0.01)
            running.remove(n)
            assert max(largest) == {most}
        """
    )
    run = stage.run(*options, workers=None)
    assert run.counts == {"passed": 6}, run.text


@pytest.mark.parametrize(
    ("options", "ini", "text"),
    [
        ([], "max_asyncio_tasks = many", "the ini option max_asyncio_tasks: 'many'"),
        ([], "asyncio_task_timeout = 0", "the ini option asyncio_task_timeout: '0'"),
    ],
)
def test_a_number_that_is_none_is_a_usage_error(
    stage: Stage, options: list[str], ini: str, text: str
) -> None:
    (stage.path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    stage.write(
        test_a="""
        @pytest.mark.asyncio_cooperative
        async def test_it(): pass
        """
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 4
    assert f"ERROR: {text} is not a whole number of 1 or more\n" in run.errors


def test_a_flakey_test_runs_once_more_and_this_is_shown(stage: Stage) -> None:
    stage.write(
        test_a="""
        runs = []
        @pytest.fixture
        async def fresh():
            note("up")
            yield
            note("down")
        @pytest.mark.flakey
        @pytest.mark.asyncio_cooperative
        async def test_once(fresh):
            runs.append(1)
            assert len(runs) == 2
        @pytest.mark.flakey
        @pytest.mark.asyncio_cooperative
        async def test_always(): assert 0
        @pytest.mark.flakey
        def test_not_marked(): assert 0
        """
    )
    for options in ([], ["-n2"], ["-n2", "--tasks=3"]):
        run = stage.run("-rR", *options, workers=None)
        assert run.counts == {"passed": 1, "failed": 2, "rerun": 2}, run.text
        assert run.exit == 1
        assert [line.split()[0] for line in run.notes] == ["up", "down"] * 2
    assert "test_once RERUN" in stage.run("-v", workers=None).text


def test_a_flakey_test_has_its_time_once_more(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        runs = []
        @pytest.mark.flakey
        @pytest.mark.asyncio_cooperative
        async def test_hangs(): await asyncio.sleep(100)
        @pytest.mark.flakey
        @pytest.mark.asyncio_cooperative
        async def test_hangs_once():
            runs.append(1)
            await asyncio.sleep(100 if len(runs) == 1 else 0.6)
        """
    )
    for options in ([], ["-n1"]):
        run = stage.run("-rR", "--asyncio-task-timeout=1", *options, workers=None)
        assert run.counts == {"passed": 1, "failed": 1, "rerun": 2}, run.text
        assert "The test took longer than 1 s" in run.report("test_hangs")


def test_a_test_that_takes_too_long_is_cancelled_and_torn_down(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture
        async def up():
            yield
            await asyncio.sleep(0.01)
            note("down")
        @pytest.mark.asyncio_cooperative
        async def test_long(up): await asyncio.sleep(100)
        @pytest.mark.asyncio_cooperative
        async def test_short(up): pass
        """
    )
    run = stage.run("--asyncio-task-timeout=1", workers=None)
    assert run.counts == {"passed": 1, "failed": 1}, run.text
    assert len(run.notes) == 2
    assert (
        "The test took longer than 1 s (--asyncio-task-timeout). It was cancelled where it waited: "
        "test_a.py:11 in test_long: async def test_long(up): await asyncio.sleep(100). "
    ) in run.text


def test_waiting_for_a_lock_or_for_a_shared_fixture_takes_none_of_the_time(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        from pytest_braid import Lock
        pytestmark = pytest.mark.asyncio_cooperative
        @pytest.fixture(scope="module")
        async def shared():
            await asyncio.sleep(0.7)
        @pytest.mark.parametrize("n", range(3))
        async def test_locked(n):
            async with Lock("l"): await asyncio.sleep(0.6)
        from pytest_asyncio_cooperative import Lock as SeedsLock
        seeds_lock = SeedsLock()
        @pytest.mark.parametrize("n", range(3))
        async def test_locked_by_the_seeds(n):
            async with seeds_lock(): await asyncio.sleep(0.6)
        @pytest.fixture
        def locked():
            with Lock("m"): yield
        @pytest.mark.parametrize("n", range(3))
        async def test_locked_by_a_sync_fixture(locked, n):
            await asyncio.sleep(0.6)
        async def test_first(shared): pass
        async def test_second(shared): await asyncio.sleep(0.7)
        """
    )
    run = stage.run("--asyncio-task-timeout=1", workers=None)
    assert run.counts == {"passed": 11}, run.text


def test_the_requirement_is_met_and_the_plugins_name_is_known(stage: Stage) -> None:
    (stage.path / "pytest.ini").write_text(
        "[pytest]\nrequired_plugins = pytest-asyncio-cooperative>=0.40\n"
        "addopts = --strict-markers\n"
    )
    stage.write(
        conftest='pytest_plugins = ["pytest_asyncio_cooperative.plugin"]',
        test_a="""
        @pytest.mark.decorated
        @pytest.mark.asyncio_cooperative
        async def test_it(): pass
        """,
    )
    run = stage.run(workers=None)
    assert run.counts == {"passed": 1}, run.text + run.errors


@pytest.mark.parametrize("is_first", [True, False], ids=["before braid", "behind it"])
def test_the_original_is_stepped_around_and_its_options_are_ours(
    stage: Stage, is_first: bool
) -> None:
    stage.write(
        the_original="""
        def pytest_addoption(parser):
            for name in ("max-asyncio-tasks", "asyncio-task-timeout"):
                parser.addoption(f"--{name}", default=None)
                parser.addini(name.replace("-", "_"), "", default=7)
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(session): raise SystemExit("the original's engine")
        """,
        test_a="""
        running = set()
        import asyncio
        @pytest.mark.asyncio_cooperative
        @pytest.mark.parametrize("n", range(4))
        async def test_it(n):
            running.add(n)
            assert len(running) <= 2
            await asyncio.sleep(0)
            running.remove(n)
        """,
    )
    package = stage.path / "original-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: original\nVersion: 1\n")
    entry = "[pytest11]\nasyncio-cooperative = the_original\n"
    (package / "entry_points.txt").write_text(entry)
    stage.env["PYTHONPATH"] = os.pathsep.join([str(INSIDE), str(stage.path)])
    if is_first:
        stage.env["PYTEST_ADDOPTS"] = "-p asyncio-cooperative"
    options = [] if is_first else ["-p", "asyncio-cooperative"]
    run = stage.run(*options, "--max-asyncio-tasks=2", workers=None)
    assert run.counts == {"passed": 4}, run.text + run.errors
    assert "run as tasks, 2 at once\n" in run.text
