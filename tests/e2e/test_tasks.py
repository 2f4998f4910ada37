"""Async tests as tasks of one event loop: the results of a serial run, and faults survived.

The serial runs are those of pytest-asyncio.
"""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Stage
from tests.e2e.serial import Run, Suite

PLUGIN = ("-p", "asyncio", "--override-ini=asyncio_default_fixture_loop_scope=function")
"""With pytest-asyncio."""

AUTO = "--override-ini=asyncio_mode=auto"


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- many at once -----------------------------------------------------------------------------

MEETS = """
    import asyncio
    class Meeting:
        def __init__(self, count): self.left, self.all_are_here = count, asyncio.Event()
        async def wait(self):
            self.left -= 1
            if not self.left: self.all_are_here.set()
            await asyncio.wait_for(self.all_are_here.wait(), 30)
    together = Meeting({})
"""
"""A conftest with a meeting: tests that wait for it pass only if so many run at once."""


@pytest.mark.parametrize(
    ("options", "workers"),
    [(("--start-method=fork",), 1), (("--start-method=spawn",), 1), ((), None), (("-n0",), None)],
    ids=["fork", "spawn", "alone", "in-process"],
)
def test_as_many_async_tests_as_tasks_run_at_once(
    stage: Stage, options: tuple[str, ...], workers: int | None
) -> None:
    stage.write(
        conftest=MEETS.format(16),
        test_a="""
        from conftest import together
        @pytest.mark.parametrize("n", range(16))
        async def test_it(n): await together.wait(); note("ran", n)
        """,
    )
    run = stage.run("--tasks=16", *options, workers=workers)
    assert run.counts == {"passed": 16}
    assert run.ran == Counter(map(str, range(16)))
    assert "tasks: 16 of 16 tests ran as tasks, 16 at once at most in a worker" in run.text


def test_what_waits_for_the_end_of_tasks_can_run_in_another_worker(stage: Stage) -> None:
    """Both workers have put sync tests aside; one of them has a task that lasts until all ran."""
    stage.write(
        test_a="""
        import asyncio
        from pathlib import Path
        ran = Path(__file__).with_name("ran")
        ran.mkdir(exist_ok=True)
        async def wait_for(count):
            while len(list(ran.iterdir())) < count: await asyncio.sleep(0.01)
        async def test_lasts(): await asyncio.wait_for(wait_for(40), 30)
        async def test_ends(): pass
        @pytest.mark.parametrize("n", range(40))
        def test_sync(n, testrun_uid): (ran / str(n)).touch(); note("ran", n)
        """,
    )
    run = stage.run("--tasks=4", workers=2)
    assert run.counts == {"passed": 42}
    assert run.ran == Counter(map(str, range(40)))


def test_while_loops_are_blocked_tests_that_wait_do_not_go_round(stage: Stage) -> None:
    """Nobody can begin the sync test: the controller must hear what else happens."""
    stage.write(
        test_a="""
        import time
        @pytest.mark.parametrize("n", range(2))
        async def test_blocks(n): time.sleep(0.7)
        def test_sync(): note("ran sync")
        """,
    )
    log = stage.path / "log.jsonl"
    run = stage.run("--tasks=4", f"--braid-log={log}", workers=2)
    assert run.counts == {"passed": 3}
    revokes = [event for event in events_of(log) if event["type"] == "Revoke"]
    assert len(revokes) < 20


def test_fixtures_of_tests_that_go_elsewhere_are_set_up_and_torn_down_in_both_workers(
    stage: Stage,
) -> None:
    stage.write(
        conftest="""
        from pathlib import Path
        ran = Path(__file__).with_name("ran")
        ran.mkdir(exist_ok=True)
        @pytest.fixture(scope="module")
        def lives(worker_id):
            note("up", worker_id)
            yield
            note("down", worker_id)
        """,
        test_a="""
        import asyncio
        from conftest import ran
        async def wait_for(count):
            while len(list(ran.iterdir())) < count: await asyncio.sleep(0.01)
        async def test_lasts(): await asyncio.wait_for(wait_for(20), 30)
        async def test_uses(lives): pass
        @pytest.mark.parametrize("n", range(20))
        def test_sync(n, lives): (ran / str(n)).touch()
        """,
        test_b="""
        def test_it(): pass
        """,
    )
    run = stage.run("--tasks=4", workers=2)
    assert run.counts == {"passed": 23}
    for worker in ("gw0", "gw1"):
        told = [line.split()[0] for line in run.notes if line.endswith(worker)]
        assert told == ["up", "down"] * (len(told) // 2)


def test_sync_tests_run_beside_tasks_in_threads(stage: Stage) -> None:
    stage.write(
        conftest="""
        import concurrent.futures
        met = concurrent.futures.Future()
        """,
        test_a="""
        import asyncio
        from conftest import met
        async def test_task(): await asyncio.wait_for(asyncio.wrap_future(met), 30)
        def test_thread(): met.set_result(None)
        """,
    )
    run = stage.run("--tasks=2", "--threads=2", workers=1)
    assert run.counts == {"passed": 2}
    assert (
        "threads and tasks: 1 of 2 tests ran in threads, 1 of 2 tests ran as tasks, 2 at once"
        in run.text
    )


def test_sync_tests_without_threads_run_alone_behind_the_tasks(stage: Stage) -> None:
    stage.write(
        test_a="""
        running = []
        async def test_1():
            import asyncio
            running.append(1); await asyncio.sleep(0.01); running.remove(1)
        def test_2(): assert not running
        async def test_3(monkeypatch): monkeypatch.setenv("NAME", "x"); assert not running
        """
    )
    run = stage.run("--tasks=4", "--braid-explain", workers=1)
    assert run.counts == {"passed": 3}
    assert "ran as task 1, beside 0 others at most" in run.text
    assert "ran alone in its worker: no async test, and no --threads" in run.text
    assert "ran alone in its worker: fixture monkeypatch" in run.text


# --- fixtures ---------------------------------------------------------------------------------


def test_fixtures_of_every_kind_as_in_a_serial_run(suite: Suite) -> None:
    suite.conftest(
        """
        import asyncio, pytest, pytest_asyncio
        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def of_session(): await asyncio.sleep(0); yield ["session"]
        @pytest_asyncio.fixture(scope="module", loop_scope="session")
        async def of_module(of_session): yield [*of_session, "module"]
        @pytest.fixture(scope="class")
        def of_class(of_module): return [*of_module, "class"]
        @pytest.fixture
        async def gives(of_class): return [*of_class, "function"]
        @pytest.fixture
        async def nothing(): yield
        @pytest.fixture
        async def returns_none(nothing): await asyncio.sleep(0)
        @pytest.fixture
        async def derived(gives, returns_none): return [*gives, returns_none]
        @pytest.fixture(params=["x", "y"])
        async def letter(request): await asyncio.sleep(0); return request.param
        @pytest.fixture
        async def indirect(request): return request.param * 10
        @pytest.fixture
        async def fails(): await asyncio.sleep(0); raise ValueError("in setup")
        @pytest.fixture
        async def skips(): pytest.skip("not here")
        @pytest.fixture
        async def fails_later(): yield; raise ValueError("in teardown")
        """
    )
    suite.write(
        test_a="""
        import asyncio, pytest
        pytestmark = pytest.mark.asyncio(loop_scope="session")
        @pytest.fixture(autouse=True)
        async def everywhere(): await asyncio.sleep(0); yield
        async def test_closure(derived):
            assert derived == ["session", "module", "class", "function", None]
        async def test_letters(letter): assert letter == "x"
        @pytest.mark.parametrize("indirect", [1, 2], indirect=True)
        async def test_indirect(indirect): await asyncio.sleep(0); assert indirect in (10, 20)
        async def test_setup_fails(fails): pass
        async def test_setup_skips(skips): pass
        async def test_teardown_fails(fails_later): print("in"); assert 0
        def test_sync(gives): assert gives[-1] == "function"
        class Test:
            @pytest.fixture
            async def own(self, gives): self.value = 3; yield [*gives, type(self).__name__]
            async def test_method(self, own): assert own[-1] == "Test" and self.value == 3
            @staticmethod
            async def test_static(letter): print("letter", letter); assert letter == "x"
            @pytest.mark.xfail
            async def test_xfail(self): await asyncio.sleep(0); assert 0
            @pytest.mark.skipif("sys.version_info > (3,)")
            async def test_skip(self): pass
            async def test_raises(self):
                await asyncio.sleep(0)
                print("out"); raise RuntimeError("in call")
        """
    )
    serial = suite.serial(*PLUGIN, AUTO)
    assert len(set(serial.outcomes.values())) > 3
    for tasks in (1, 8):  # tracebacks have frames of pytest-asyncio in them, or have not
        run = suite.braid(*PLUGIN, AUTO, f"--tasks={tasks}", workers=1)
        assert (run.exit, run.outcomes) == (serial.exit, serial.outcomes)
        assert _sections(run) == _sections(serial)


def _sections(run: Run) -> list[tuple[object, object, object]]:
    """What tests have printed, and in which phase it is told."""
    told = [facts for facts in run.told("logreport") if facts["sections"]]
    return sorted((facts["nodeid"], facts["when"], str(facts["sections"])) for facts in told)


def test_an_async_fixture_can_be_asked_for_anywhere(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture
        async def late(): await asyncio.sleep(0); yield 7
        @pytest.fixture
        def through(request): return request.getfixturevalue("late")
        @pytest.fixture
        async def through_async(request):
            await asyncio.sleep(0)
            return request.getfixturevalue("late")
        async def test_inside(request):
            await asyncio.sleep(0)
            assert request.getfixturevalue("late") == 7
        async def test_fixture(through, through_async): assert through == through_async == 7
        def test_sync(request): assert request.getfixturevalue("late") == 7
        async def test_task(request):
            async def ask(): return request.getfixturevalue("late")
            with pytest.raises(RuntimeError, match="in a task that the test has started: only the"):
                await asyncio.create_task(ask())
        """
    )
    assert stage.run("--tasks=4", workers=1).counts == {"passed": 4}


def test_setup_and_teardown_are_of_one_task_and_one_context(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, contextvars
        name = contextvars.ContextVar("name", default="none")
        @pytest.fixture
        async def outer():
            task, token = asyncio.current_task(), name.set("outer")
            yield task
            assert asyncio.current_task() is task
            name.reset(token); note("down")
        @pytest.fixture
        def inner(outer):
            assert name.get() == "outer"
            token = name.set("inner")
            yield
            name.reset(token)
        @pytest.mark.parametrize("n", range(5))
        async def test_it(n, outer, inner):
            await asyncio.sleep(0.01 * n)
            assert asyncio.current_task() is outer and name.get() == "inner"
            name.set(f"test {n}")
            async with asyncio.timeout(10): await asyncio.sleep(0)
            assert name.get() == f"test {n}"
        """
    )
    run = stage.run("--tasks=5", workers=1)
    assert run.counts == {"passed": 5}
    assert run.notes.count("down") == 5


@pytest.mark.parametrize("tasks", [1, 20])
def test_what_tests_share_lives_in_a_task_of_its_own_until_its_last_user(
    stage: Stage, tasks: int
) -> None:
    stage.write(
        conftest="""
        import asyncio, contextvars
        where = contextvars.ContextVar("where", default="nowhere")
        @pytest.fixture(scope="session")
        async def of_session():
            note("up session"); task = asyncio.current_task(); token = where.set("session")
            await asyncio.sleep(0.01)
            yield asyncio.create_task(asyncio.sleep(1000))
            assert asyncio.current_task() is task
            where.reset(token); note("down session")
        @pytest.fixture(scope="module", params=["a", "b"])
        async def of_module(request, of_session):
            note("up module", request.param)
            yield request.param
            note("down module", request.param)
        @pytest.fixture(scope="class")
        async def of_class(of_module): note("up class"); return {}
        """,
        test_a="""
        import asyncio
        from conftest import where
        class Test:
            @pytest.mark.parametrize("n", range(6))
            async def test_it(self, of_session, of_module, of_class, n):
                await asyncio.sleep(0.001 * n)
                assert not of_session.done() and where.get() == "session"
                note("ran", of_module, n)
        async def test_other(of_session): assert not of_session.done()
        """,
        test_b="""
        def test_sync(of_module): note("ran", of_module)
        """,
    )
    run = stage.run(f"--tasks={tasks}", workers=1)
    assert run.counts == {"passed": 15}
    assert Counter(note for note in run.notes if not note.startswith("ran")) == Counter(
        {"up session": 1, "down session": 1, "up class": 2}
        | {f"{what} module {letter}": 2 for what in ("up", "down") for letter in "ab"}
    )


def test_a_shared_setup_that_fails_or_skips_is_told_to_each_user_and_done_once(
    stage: Stage,
) -> None:
    stage.write(
        conftest="""
        import asyncio
        @pytest.fixture(scope="session")
        async def missing(): note("asked"); await asyncio.sleep(0.01); pytest.skip("no database")
        @pytest.fixture(scope="module")
        async def broken(): note("tried"); await asyncio.sleep(0.01); raise OSError("no port")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        async def test_missing(missing, n): pass
        @pytest.mark.parametrize("n", range(6))
        async def test_broken(broken, n): pass
        """,
    )
    run = stage.run("--tasks=12", workers=1)
    assert run.counts == {"skipped": 6, "errors": 6}
    assert run.notes.count("asked") == run.notes.count("tried") == 1
    assert run.text.count("OSError: no port") >= 6


def test_async_setup_functions_are_awaited(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        async def setup_module(module): await asyncio.sleep(0); module.ready = True
        async def setup_function(): await asyncio.sleep(0); note("function")
        async def test_1(): assert ready
        class Test:
            @classmethod
            async def setup_class(cls): await asyncio.sleep(0); cls.value = 3
            async def setup_method(self, method): self.name = method.__name__
            async def teardown_method(self): await asyncio.sleep(0); note("down", self.name)
            async def test_2(self): assert (self.value, self.name) == (3, "test_2")
            def test_3(self): assert (self.value, self.name) == (3, "test_3")
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 3}
    assert sorted(run.notes) == ["down test_2", "down test_3", "function"]


# --- marks and modes --------------------------------------------------------------------------


ANYIO = """
    import inspect
    @pytest.fixture(scope="module")
    def anyio_backend(): return "asyncio"
    class OnBackend:  # what anyio's plugin does with an async fixture, without the loop
        @pytest.hookimpl(wrapper=True)
        def pytest_fixture_setup(self, fixturedef, request):
            function = fixturedef.func
            if inspect.iscoroutinefunction(function) and "anyio_backend" in request.fixturenames:
                backend = request.getfixturevalue("anyio_backend")
                fixturedef.func = lambda: f"of anyio, on {backend}"
            try: return (yield)
            finally: fixturedef.func = function
    def pytest_configure(config): config.pluginmanager.register(OnBackend())
    @pytest.fixture
    async def of_function(): return "ours"
    @pytest.fixture(scope="module")
    async def of_module(): return "ours"
"""


@pytest.mark.parametrize("threads", [[], ["--threads=2"]], ids=["tasks", "threads"])
@pytest.mark.parametrize("fixture", ["of_function", "of_module"])
def test_of_a_sync_test_async_fixtures_of_another_backend_stay_with_anyio(
    stage: Stage, fixture: str, threads: list[str]
) -> None:
    stage.write(
        conftest=ANYIO,
        test_trio=f"""
        @pytest.fixture(scope="module")
        def anyio_backend(): return "trio"
        def test_fixture(anyio_backend, {fixture}): note("by fixture", {fixture})
        """,
        test_options=f"""
        backends = [("asyncio", {{"debug": True}})]
        @pytest.mark.parametrize("anyio_backend", backends, scope="module")
        def test_param(anyio_backend, {fixture}): note("by parameter", {fixture})
        """,
        test_asyncio=f"""
        def test_same(anyio_backend, {fixture}): note("asyncio", {fixture})
        """,
        test_without=f"""
        def test_none({fixture}): note("without", {fixture})
        """,
    )
    run = stage.run("--tasks=4", *threads, workers=1)
    assert run.counts == {"passed": 4}, run.text
    assert sorted(run.notes) == [
        "asyncio ours",
        "by fixture of anyio, on trio",
        "by parameter of anyio, on ('asyncio', {'debug': True})",
        "without ours",
    ]


def test_marks_and_modes_say_which_tests_are_ours(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.mark.asyncio
        async def test_asyncio(): await asyncio.sleep(0)
        @pytest.mark.asyncio_cooperative
        async def test_cooperative(): await asyncio.sleep(0)
        @pytest.mark.asyncio_cooperative
        def test_cooperative_sync(): pass
        async def test_unmarked(): await asyncio.sleep(0)
        """
    )
    strict = stage.run("--tasks=4", *PLUGIN, workers=1)
    assert strict.counts["passed"] == 3  # the fourth fails, or is skipped by pytest before 8.4
    assert "async def functions are not natively supported" in strict.text
    assert stage.run("--tasks=4", *PLUGIN, AUTO, workers=1).counts["passed"] == 4
    without = stage.run("--tasks=4", AUTO, workers=1)
    assert without.counts["passed"] == 4
    without = stage.run("--tasks=4", "--override-ini=asyncio_mode=strict", workers=1)
    assert without.counts["passed"] == 3


@pytest.mark.parametrize("workers", [1, None], ids=["worker", "local"])
def test_an_async_test_of_pytest_asyncio_that_steps_aside_runs_in_our_loop(
    stage: Stage, workers: int | None
) -> None:
    stage.write(
        test_a="""
        import asyncio
        loops = set()
        @pytest.mark.asyncio
        async def test_task(): loops.add(asyncio.get_running_loop())
        @pytest.mark.asyncio
        async def test_aside(monkeypatch):
            monkeypatch.setenv("A", "B")
            await asyncio.sleep(0)
            assert loops == {asyncio.get_running_loop()}
        """
    )
    options = ["--tasks=4", *PLUGIN, *([] if workers else ["-n0"])]
    run = stage.run(*options, workers=workers)
    assert run.counts == {"passed": 2}, run.text
    assert "1 of 2 tests ran as tasks" in run.text


def test_whoever_asks_for_the_loop_in_a_function_that_a_task_calls_does_not_step_aside(
    stage: Stage,
) -> None:
    stage.write(
        test_a="""
        import asyncio
        def loop(): return asyncio.get_event_loop()
        async def test_it(): assert loop() is asyncio.get_running_loop()
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 1}
    assert "tasks: 1 of 1 tests ran as tasks" in run.text


def test_a_test_with_a_loop_policy_of_its_own_stays_with_its_plugin(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                loop = super().new_event_loop(); loop.is_own = True
                return loop
        @pytest.fixture
        def event_loop_policy(): return Policy()
        async def test_own(): assert asyncio.get_running_loop().is_own
        """,
        test_b="""
        import asyncio
        from test_a import Policy
        async def test_other(): assert not hasattr(asyncio.get_running_loop(), "is_own")
        @pytest.mark.parametrize("event_loop_policy", [Policy()])
        async def test_given(event_loop_policy): assert asyncio.get_running_loop().is_own
        async def test_next(): assert not hasattr(asyncio.get_running_loop(), "is_own")
        """,
    )
    run = stage.run("--tasks=4", *PLUGIN, AUTO, "-Wignore::DeprecationWarning", workers=1)
    assert run.counts == {"passed": 4}
    assert "tasks: 2 of 4 tests ran as tasks" in run.text


def test_a_test_has_all_of_the_stack_whatever_has_been_awaited_deep_in_it(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        def down(levels, function): return down(levels - 1, function) if levels else function()
        @pytest.fixture
        async def slow(): await asyncio.sleep(0)
        @pytest.mark.parametrize("n", range(4))
        def test_1(request, n): down(600, lambda: request.getfixturevalue("slow"))
        @pytest.mark.parametrize("n", range(4))
        async def test_2(n): down(600, lambda: None)
        """
    )
    run = stage.run("--tasks=2", workers=1)
    assert run.counts == {"passed": 8}
    assert "4 of 8 tests ran as tasks" in run.text


def test_hypothesis_tests_run_one_at_a_time(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        from hypothesis import given, settings, strategies
        @given(n=strategies.integers())
        @settings(max_examples=5, deadline=None, database=None)
        async def test_it(n): await asyncio.sleep(0); note("example")
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 1}
    assert run.notes.count("example") >= 5


# --- output and state -------------------------------------------------------------------------


def test_what_a_test_prints_logs_and_warns_of_is_its_own(suite: Suite) -> None:
    suite.write(
        test_a="""
        import asyncio, logging, os, pytest, sys, warnings
        @pytest.mark.parametrize("n", range(4))
        async def test_it(n, caplog, capsys, tmp_path):
            for step in range(3):
                print("out", n, step); print("err", n, step, file=sys.stderr)
                logging.getLogger("name").warning("log %s %s", n, step)
                await asyncio.sleep(0.001 * (4 - n))
                assert f"test_it[{n}]" in os.environ["PYTEST_CURRENT_TEST"]
            assert [r.args for r in caplog.records] == [(n, step) for step in range(3)]
            assert capsys.readouterr().out == "".join(f"out {n} {s}\\n" for s in range(3))
            warnings.warn(f"of {n}"); assert str(n) in tmp_path.name
            async def beside(): print("from a task of", n)
            await asyncio.create_task(beside())
            assert n % 2
        """
    )
    suite.same(*PLUGIN, AUTO, workers=1, ours=("--tasks=4",))


@pytest.mark.parametrize("core", ["ctrace", "sysmon"])
def test_coverage_is_that_of_a_serial_run(
    stage: Stage, core: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVERAGE_CORE", core)
    stage.write(
        outer="""
        import asyncio
        from inner import inner
        async def outer(n):
            if n % 2:
                await asyncio.sleep(0.001)
                return await inner(n)
            found = await inner(n + 1)
            await asyncio.sleep(0)
            return found
        def never(): return 1
        """,
        inner="""
        import asyncio
        async def inner(n):
            total = 0
            for i in range(n % 3):
                await asyncio.sleep(0.001)
                total += i
                if total > 100:
                    return "never"
            return helper(total)
        def helper(total):
            if total:
                return total
            return -1
        """,
        test_a="""
        import asyncio
        from outer import outer
        @pytest.mark.parametrize("n", range(20))
        async def test_it(n): await asyncio.sleep(0); await outer(n)
        """,
    )
    options = (
        *PLUGIN,
        "-p",
        "pytest_cov",
        "--cov=outer",
        "--cov=inner",
        "--cov-branch",
        "-Wignore",
        AUTO,
    )
    serial = stage.serial(*options, "--cov-report=json:serial.json")
    tasks = stage.run(*options, "--cov-report=json:tasks.json", "--tasks=20", workers=1)
    assert serial.counts == tasks.counts == {"passed": 20}
    found = [_covered(stage.path / name) for name in ("serial.json", "tasks.json")]
    assert found[0] == found[1]
    assert all(branches for _, branches in found[0].values())


def _covered(path: Path) -> dict[str, tuple[Any, Any]]:
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return {
        name: (facts["executed_lines"], facts["executed_branches"]) for name, facts in files.items()
    }


# --- time -------------------------------------------------------------------------------------


def test_a_test_that_takes_too_long_is_cancelled_where_it_waits(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture
        async def own(): yield; note("torn down")
        async def helper(): await asyncio.Event().wait()
        @pytest.mark.timeout(0.2)
        async def test_hangs(own): await helper()
        async def test_other(): await asyncio.sleep(0.4)
        """
    )
    for options, workers in ((("-n0",), None), ((), 1)):
        run = stage.run("--tasks=4", *options, workers=workers)
        assert run.counts == {"passed": 1, "failed": 1}
        report = run.report("test_hangs")
        assert (
            "Failed: The test took longer than 0.2 s (its mark timeout). It was cancelled where it "
            "waited: test_a.py:7 in helper: async def helper(): await asyncio.Event().wait(). If "
            "it needs longer, raise the limit, or mark it with @pytest.mark.timeout(SECONDS)."
        ) in report
        assert ">   async def test_hangs(own): await helper()" in report
        assert run.notes.count("torn down") == 1


def test_a_test_that_does_not_let_itself_be_cancelled_ends_its_worker(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.mark.timeout(0.2)
        async def test_hangs():
            while True:
                try: await asyncio.sleep(100)
                except asyncio.CancelledError: note("cancelled")
        async def test_other(): await asyncio.sleep(0.1); note("ran other")
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 1, "failed": 1}
    assert "its worker 'gw0' was ended" in run.report("test_hangs")
    assert run.notes.count("cancelled") == 1


def test_waiting_for_what_others_set_up_takes_no_time_of_a_test(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture(scope="session")
        async def slow(): await asyncio.sleep(2.5); yield
        async def test_first(slow): pass
        @pytest.mark.timeout(0.5)
        @pytest.mark.parametrize("n", range(3))
        async def test_it(slow, n): await asyncio.sleep(0.1)
        """
    )
    assert stage.run("--tasks=4", workers=1).counts == {"passed": 4}


def test_what_a_test_sets_up_for_others_takes_its_time(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture(scope="session")
        async def hangs():
            await asyncio.sleep(100)
            yield
        @pytest.fixture(scope="class")
        async def hangs_at_the_end():
            yield
            await asyncio.sleep(100)
        @pytest.fixture
        async def own():
            await asyncio.sleep(100)
            yield
        @pytest.mark.timeout(0.2)
        async def test_hangs(hangs): pass
        async def test_other(hangs): pass
        @pytest.mark.timeout(0.2)
        async def test_own(own): pass
        class Test:
            @pytest.mark.timeout(0.2)
            async def test_end(self, hangs_at_the_end): pass
        """
    )
    for options in (("-n0",), ("-n1",)):
        run = stage.run("--tasks=4", *options, workers=None)
        assert run.counts == {"passed": 1, "errors": 4}
        found = re.findall(
            r"Failed: The test took longer than 0.2 s \(its mark timeout\). It was cancelled where "
            r"it waited: test_a.py:\d+ in (\w+): await asyncio.sleep\(100\). If it needs longer",
            run.text,
        )  # of all users of one fixture, as of any whose setup has failed
        assert sorted(found) == ["hangs", "hangs", "hangs_at_the_end", "own"]


def test_who_blocks_the_loop_is_named_and_costs_others_no_time(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, time
        async def test_blocks(): await asyncio.sleep(0.01); time.sleep(4)
        @pytest.mark.timeout(2)
        async def test_other(): await asyncio.sleep(1)
        """
    )
    for options, workers in ((("-n0",), None), ((), 1)):
        run = stage.run("--tasks=4", *options, workers=workers)
        assert run.counts == {"passed": 2}
        told = run.section("braid: the event loop was blocked")
        assert re.match(
            r"test_a.py::test_blocks has blocked the event loop of its worker for \d+\.\d s, and "
            r"all other tasks waited. Await what takes so long \(asyncio.to_thread\), or mark the "
            r"test with @pytest.mark.thread_unsafe. It was here:\n"
            r"  test_a.py:5 in test_blocks: async def test_blocks\(\): .*time.sleep\(4\)\n",
            told.lstrip(),
        )


# --- what is left behind ----------------------------------------------------------------------

LEAVES = """
    import asyncio
    kept = []
    async def generator(): yield 1; yield 2
    @pytest.fixture
    async def forgetful(): kept.append(asyncio.create_task(asyncio.sleep(1000))); yield kept[-1]
    @pytest.fixture
    async def careful(): task = asyncio.create_task(asyncio.sleep(1000)); yield; task.cancel()
    @pytest.fixture(scope="session")
    async def server(): task = asyncio.create_task(asyncio.sleep(1000)); yield task; task.cancel()
    async def test_task(): kept.append(asyncio.create_task(asyncio.sleep(1000), name="left"))
    async def test_generator(): kept.append(generator()); await anext(kept[-1])
    async def test_loop(): kept.append(asyncio.new_event_loop())
    async def test_fixture(forgetful): assert not forgetful.done()
    async def test_careful(careful, server):
        task = asyncio.create_task(asyncio.sleep(1000)); task.cancel()
        assert not server.done()
"""


def test_what_a_test_leaves_is_ended_and_named(stage: Stage) -> None:
    stage.write(test_a=LEAVES)
    run = stage.run("--tasks=1", "-Werror", workers=1)
    assert run.counts == {"passed": 5, "warnings": 4}
    for test, what in (
        ("test_task", "the task 'left' (sleep)"),
        ("test_generator", "the async generator generator"),
        ("test_loop", "the event loop <_UnixSelectorEventLoop running=False closed=False"),
        ("test_fixture", "the task 'Task-"),
    ):
        assert f"test_a.py::{test} has left {what}" in run.text
    assert (
        "which would go on beside other tests. It was ended; let the test end it (await it, cancel "
        "it, or close it)" in run.text
    )


def test_who_drops_an_async_generator_has_left_nothing_and_asyncio_closes_it(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        closed = asyncio.Event()
        async def generator():
            try: yield 1
            finally: await asyncio.sleep(0.01); closed.set()
        async def test_drops():
            steps = generator(); await anext(steps); del steps
            await asyncio.sleep(0)
        async def test_other(): await asyncio.wait_for(closed.wait(), 10)
        """
    )
    assert stage.run("--tasks=2", workers=1).counts == {"passed": 2}


def test_who_leaves_something_fails_if_asked_for(stage: Stage) -> None:
    stage.write(test_a=LEAVES)
    run = stage.run("--tasks=8", "--override-ini=braid_strict_tasks=true", workers=1)
    assert run.counts == {"passed": 2, "failed": 3, "errors": 1}


# --- faults -----------------------------------------------------------------------------------


def test_a_crash_is_that_of_its_culprit(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, os
        @pytest.mark.parametrize("n", range(8))
        async def test_it(n):
            await asyncio.sleep(0.05)
            if n == 3: os._exit(7)
            await asyncio.sleep(0.05)
        """
    )
    run = stage.run("--tasks=8", workers=1)
    assert run.counts == {"passed": 7, "failed": 1}
    assert "exit code 7" in run.report("test_it[3]")


@pytest.mark.parametrize("workers", [None, 1], ids=["in-process", "worker"])
def test_ctrl_c_ends_all_tasks_and_tears_down(stage: Stage, workers: int | None) -> None:
    stage.write(
        conftest="""
        import asyncio
        @pytest.fixture(scope="session")
        async def of_session(): yield; await asyncio.sleep(0); note("down session")
        @pytest.fixture
        async def own(): yield; note("down own")
        """,
        test_a="""
        import asyncio
        @pytest.mark.parametrize("n", range(4))
        async def test_it(of_session, own, n):
            try: note("waits", n); await asyncio.sleep(1000)
            finally: note("left", n)
        """,
    )
    run = stage.start("--tasks=4", *(("-n0",) if workers is None else ()), workers=workers)
    run.expect("waits 0", "waits 1", "waits 2", "waits 3")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert sorted(note for note in ended.notes if "left" in note) == [f"left {n}" for n in range(4)]
    assert ended.notes.count("down own") == 4
    assert ended.notes.count("down session") == 1


def test_after_the_first_failure_nothing_more_is_started(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        async def test_fails(): await asyncio.sleep(0.05); assert 0
        @pytest.mark.parametrize("n", range(50))
        async def test_more(n): await asyncio.sleep(0.2); note("ran", n)
        """
    )
    run = stage.run("--tasks=4", "-x", workers=1)
    assert run.exit == pytest.ExitCode.TESTS_FAILED
    assert run.counts["failed"] == 1
    assert len(run.ran) <= 3


def test_a_test_that_cancels_is_alone_with_it(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        async def test_all():
            for task in asyncio.all_tasks() - {asyncio.current_task()}: task.cancel()
        async def test_itself(): asyncio.current_task().cancel()
        @pytest.mark.parametrize("n", range(3))
        async def test_other(n): note("ran", n)
        async def test_alone(monkeypatch): asyncio.current_task().cancel()
        """
    )
    run = stage.run("--tasks=8", workers=1)
    assert run.counts == {"passed": 6}
    assert run.ran == {"0": 1, "1": 1, "2": 1}


def test_system_exit_in_a_task_of_a_test_is_that_tests(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, sys
        async def leave(): await asyncio.sleep(0); sys.exit(3)
        async def test_exits():
            with pytest.raises(SystemExit): await asyncio.create_task(leave())
        async def test_other(): await asyncio.sleep(0.05); note("ran other")
        """
    )
    for options, workers in ((("-n0",), None), ((), 1)):
        run = stage.run("--tasks=4", *options, workers=workers)
        assert (run.counts, run.ran) == ({"passed": 2}, {"other": 1})


def test_who_stops_waiting_for_a_shared_fixture_leaves_it_to_others(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture(scope="session")
        async def shared(): note("begun"); await asyncio.sleep(0.5); yield 7; note("down")
        async def test_first(shared): assert shared == 7
        async def test_impatient(request):
            await asyncio.sleep(0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05): request.getfixturevalue("shared")
        async def test_later(request):
            await asyncio.sleep(0.2)
            assert request.getfixturevalue("shared") == 7
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 3}
    assert run.notes == ["begun", "down"]


def test_who_is_cancelled_while_it_sets_up_for_others_leaves_nothing(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        @pytest.fixture(scope="session")
        async def shared():
            note("begun")
            try: await asyncio.sleep(0.3); yield 7
            finally: note("down")
        async def test_impatient(request):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05): request.getfixturevalue("shared")
        async def test_later(request):
            await asyncio.sleep(0.1)
            assert request.getfixturevalue("shared") == 7
        """
    )
    run = stage.run("--tasks=4", workers=1)
    assert run.counts == {"passed": 2}
    assert run.notes == ["begun", "down"] * 2


def test_a_cancellation_that_is_swallowed_is_a_timeout_all_the_same(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, contextlib
        @pytest.mark.timeout(0.2)
        async def test_it():
            with contextlib.suppress(asyncio.CancelledError): await asyncio.sleep(100)
        @pytest.mark.timeout(0.3)
        async def test_in_slices():
            import time
            while True: time.sleep(0.1); await asyncio.sleep(0)
        """
    )
    run = stage.run("--tasks=4", "-n0", workers=None)
    assert run.counts == {"failed": 2}
    assert run.text.count("The test took longer than") >= 2


def test_a_case_with_a_loop_of_its_own_is_no_task(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, unittest
        class Test(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self): self.loop = asyncio.get_running_loop()
            async def test_it(self): assert asyncio.get_running_loop() is self.loop
        async def test_task(): await asyncio.sleep(0)
        """
    )
    for threads in (0, 2):
        run = stage.run("--tasks=4", f"--threads={threads}", workers=1)
        assert run.counts == {"passed": 2}
        assert "1 of 2 tests ran as tasks" in run.text


def test_what_a_test_sets_in_context_variables_no_other_sees(stage: Stage) -> None:
    stage.write(
        test_a="""
        import contextvars
        name = contextvars.ContextVar("name", default="none")
        async def test_1(monkeypatch): assert name.get() == "none"; name.set("1")
        async def test_2(): assert name.get() == "none"; name.set("2")
        async def test_3(monkeypatch): assert name.get() == "none"; name.set("3")
        def test_4(): assert name.get() == "none"
        """
    )
    assert stage.run("--tasks=4", workers=1).counts == {"passed": 4}


# --- options ----------------------------------------------------------------------------------


def test_a_number_of_tasks_that_is_none(stage: Stage) -> None:
    stage.write(test_a="async def test_it(): pass")
    for text in ("many", "1001", "test_a.py"):
        run = stage.run("--tasks", text, workers=1)
        assert run.exit == pytest.ExitCode.USAGE_ERROR
        assert (
            f"'{text}' is not a number of tasks: give a number up to 1000; 0 runs async tests as "
            "without the option. Where it is left out and a path follows, write --tasks=100"
        ) in run.errors
    run = stage.run("--override-ini=braid_tasks=many", workers=1)
    assert "the ini option braid_tasks: 'many' is not a number of tasks" in run.text + run.errors


def test_tasks_without_a_number_and_by_ini_key(stage: Stage) -> None:
    stage.write(test_a="async def test_it(): pass")
    for options in (("--tasks",), ("--override-ini=braid_tasks=5",)):
        run = stage.run(*options, workers=None)
        assert run.counts == {"passed": 1}
        assert "tasks: 1 of 1 tests ran as tasks" in run.text
    run = stage.run("-n0", "--tasks", workers=None)
    assert "braid: 100 async tests at once, as tasks in this process" in run.text
