"""Tests in threads: the results of a serial run, with fixtures shared and faults survived."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.running import UP_AND_DOWN, Ended, Stage
from tests.e2e.serial import Suite

FORK, SPAWN = "--start-method=fork", "--start-method=spawn"
METHODS = pytest.mark.parametrize("method", [FORK, SPAWN], ids=["fork", "spawn"])

MEETS = """
    import threading
    together = threading.Barrier({}, timeout=30)
"""
"""A conftest with a barrier: tests that wait at it pass only if so many run at once."""


def log_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def strands_of(path: Path) -> list[object]:
    """In which strand each test began, by its number."""
    started = [line for line in log_of(path) if line.get("type") == "Started"]
    return [line.get("strand", 0) for line in sorted(started, key=lambda line: str(line["test"]))]


# --- many at once -----------------------------------------------------------------------------


@METHODS
def test_as_many_tests_as_threads_run_at_once(stage: Stage, method: str) -> None:
    stage.write(
        conftest=MEETS.format(8),
        test_a="""
        from conftest import together
        @pytest.mark.parametrize("n", range(16))
        def test_it(n): together.wait(); note("ran", n)
        """,
    )
    run = stage.run("--threads=8", method, workers=1)
    assert run.counts == {"passed": 16}
    assert run.ran == Counter(map(str, range(16)))


@pytest.mark.parametrize(
    ("option", "mark"),
    [
        ("--maxfail=1", "skipif(False, reason='')"),
        ("--override-ini=braid_resources=thing:8", "resource_lock('thing', slots=2)"),
    ],
)
def test_a_strand_that_is_free_asks_for_more(stage: Stage, option: str, mark: str) -> None:
    """Where tests are given one by one, for none is to lie in wait."""
    stage.write(
        conftest=MEETS.format(4),
        test_a=f"""
        from conftest import together
        @pytest.mark.{mark}
        @pytest.mark.parametrize("n", range(8))
        def test_it(n): together.wait()
        """,
    )
    assert stage.run("--threads=4", option, workers=1).counts == {"passed": 8}


def test_alone_it_means_one_worker(suite: Suite) -> None:
    suite.write(test_a="import os\ndef test_1(worker_id): assert worker_id == 'gw0'")
    run = suite.plain("-p", "braid", "--threads=3")
    assert run.exit == 0
    assert "braid: --threads: one worker, 3 tests at once (-n N: N workers)" in run.lines


def test_one_thread_is_the_worker_itself(suite: Suite) -> None:
    """Nothing could run beside a test: it has the main thread, and pytest's own fixtures."""
    suite.write(
        test_a="""
        import threading
        def test_1(request, worker_id):
            assert threading.current_thread() is threading.main_thread()
            assert type(request.session._setupstate).__module__ == "_pytest.runner"
            assert worker_id == "gw0"
        """
    )
    run = suite.plain("-p", "braid", "--threads=1")
    assert run.exit == 0, run.text
    assert "braid: --threads: one worker, one test at a time (-n N: N workers)" in run.lines


def test_the_ini_key_alone_is_enough_and_the_option_wins(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.ini("braid_threads = 5")
    asked = suite.plain("-p", "braid")
    assert "braid: --threads: one worker, 5 tests at once (-n N: N workers)" in asked.lines
    assert not any("--threads" in line for line in suite.plain("-p", "braid", "--threads=0").lines)


@pytest.mark.parametrize(("value", "source"), [("many", "argument"), ("-1", "argument")])
def test_what_is_no_number_of_threads_is_a_usage_error(
    suite: Suite, value: str, source: str
) -> None:
    suite.write(test_a="def test_1(): pass")
    run = suite.plain("-p", "braid", f"--threads={value}")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert (
        f"{source} --threads: {value!r} is not a number of threads: give 'auto' or a number up to "
        "1000; 0 runs one test at a time"
    ) in run.errors


def test_an_ini_key_that_is_no_number_says_that_it_is_the_ini_key(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.ini("braid_threads = 1001")
    run = suite.plain("-p", "braid")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert "the ini option braid_threads: '1001' is not a number of threads" in run.errors


# --- fixtures ---------------------------------------------------------------------------------

SCOPES = """
    import itertools, threading
    made = itertools.count()

    @pytest.fixture(scope="session")
    def of_session():
        note("up session"); yield next(made); note("down session")
    @pytest.fixture(scope="package")
    def of_package(of_session):
        note("up package"); yield next(made); note("down package")
"""


@METHODS
@pytest.mark.parametrize("threads", [1, 4, 16])
def test_each_fixture_is_set_up_once_and_torn_down_behind_its_last_user(
    stage: Stage, method: str, threads: int
) -> None:
    module = """
        @pytest.fixture(scope="module")
        def of_module(of_package):
            note("up {name}"); yield; note("down {name}")
        @pytest.fixture(scope="class")
        def of_class(of_module):
            note("up {name} class"); yield; note("down {name} class")
        class Test:
            @pytest.mark.parametrize("n", range(12))
            def test_in_class(self, of_class, n): note("ran {name} class", n)
        @pytest.mark.parametrize("n", range(12))
        def test_it(of_module, request, n):
            note("ran {name}", n)
            assert request.getfixturevalue("of_session") == 0
        """
    stage.write(conftest=SCOPES, **{f"test_{name}": module.format(name=name) for name in "abc"})
    run = stage.run(f"--threads={threads}", method, workers=1)
    assert run.counts == {"passed": 72}
    for name in ("session", "package", *"abc", *(f"{name} class" for name in "abc")):
        up, down = run.notes.index(f"up {name}"), run.notes.index(f"down {name}")
        users = [n for n, line in enumerate(run.notes) if line.startswith(f"ran {name} ")]
        assert run.notes.count(f"up {name}") == run.notes.count(f"down {name}") == 1
        assert up < min(users, default=up + 1)
        assert max(users, default=down - 1) < down
    assert run.notes[0] == "up session"
    assert run.notes[-1] == "down session"


def test_a_worker_that_waits_for_a_resource_keeps_the_fixtures_of_the_session(
    stage: Stage,
) -> None:
    stage.write(
        conftest=UP_AND_DOWN,
        test_a="""
        import time
        @pytest.mark.resource_lock("db")
        @pytest.mark.parametrize("n", range(12))
        def test_it(n): time.sleep(0.05)
        """,
    )
    run = stage.run("--threads=2", workers=2)
    assert run.counts == {"passed": 12}
    assert run.notes.count("up session") == run.notes.count("down session") <= 2


def test_with_one_thread_the_order_is_pytests(stage: Stage) -> None:
    stage.write(
        conftest=UP_AND_DOWN,
        test_a="""
        @pytest.fixture(scope="module", params="xyz")
        def letter(request): note("up", request.param); yield; note("down", request.param)
        @pytest.fixture(scope="class")
        def derived(letter): note("up derived"); yield; note("down derived")
        def test_1(letter): note("ran 1")
        class Test:
            def test_2(self, derived): note("ran 2")
            def test_3(self, derived): note("ran 3")
        def test_4(): note("ran 4")
        """,
        test_b="def test_5(): note('ran 5')",
    )
    assert stage.run("--threads=1", workers=0).notes == stage.serial().notes


def test_two_parameters_of_a_module_fixture_are_alive_at_once(stage: Stage) -> None:
    stage.write(
        conftest=MEETS.format(3),
        test_a="""
        from conftest import together
        alive = set()
        @pytest.fixture(scope="module", params="xyz")
        def letter(request):
            note("up", request.param); alive.add(request.param)
            yield request.param
            alive.remove(request.param); note("down", request.param)
        def test_it(letter):
            together.wait()
            assert alive == {*"xyz"}
            together.wait()
        """,
    )
    run = stage.run("--threads=3", workers=1)
    assert run.counts == {"passed": 3}
    assert Counter(run.notes) == Counter(
        f"{way} {name}" for way in ("up", "down") for name in "xyz"
    )


def test_parameters_are_the_same_in_whatever_order_a_test_asks_for_them(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture(scope="session", params=[1])
        def one(): pass
        @pytest.fixture(scope="session", params=[2])
        def other(): pass
        @pytest.fixture(scope="session")
        def made(one, other):
            note("up"); yield; note("down")
        def test_1(one, other, made): pass
        def test_2(other, one, made): pass
        """,
    )
    run = stage.run("--threads=2", workers=1)
    assert run.counts == {"passed": 2}
    assert run.notes == ["up", "down"]


def test_a_parameter_is_kept_for_a_test_that_has_begun_and_not_asked_yet(stage: Stage) -> None:
    """``test_b[x]`` begins, and waits while ``x`` is idle and ``y`` is set up."""
    stage.write(
        conftest="""
        import threading
        x_is_idle, y_is_up = threading.Event(), threading.Event()

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_setup(item):
            waits_for = {"test_b[x]": y_is_up, "test_a[y]": x_is_idle}.get(item.name)
            assert waits_for is None or waits_for.wait(20)
            yield
            if item.name == "test_a[y]":
                y_is_up.set()

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_teardown(item):
            yield
            if item.name == "test_a[x]":
                x_is_idle.set()
        """,
        test_a="""
        @pytest.fixture(scope="module", params="xy")
        def letter(request):
            note("up", request.param); yield; note("down", request.param)
        def test_a(letter): pass
        def test_b(letter): pass
        """,
    )
    run = stage.run("--threads=4", workers=1)
    assert run.counts == {"passed": 4}
    assert Counter(run.notes) == Counter(["up x", "down x", "up y", "down y"])


def test_a_shared_setup_that_fails_or_skips_is_told_to_each_user(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.fixture(scope="session")
        def broken(): print("once"); raise ValueError("no database")
        @pytest.fixture(scope="module")
        def missing(): pytest.skip("no server")
        @pytest.fixture(scope="class")
        def derived(broken): pass
        @pytest.mark.parametrize("n", range(6))
        def test_broken(broken, n): pass
        @pytest.mark.parametrize("n", range(6))
        def test_missing(missing, n): pass
        @pytest.mark.parametrize("n", range(6))
        def test_derived(derived, n): pass
        """
    )
    serial, threads = suite.serial(), suite.braid("--threads=6", workers=1)
    assert threads.outcomes == serial.outcomes
    told = [facts["longrepr"] for facts in threads.told("logreport") if facts["longrepr"]]
    assert sum("no database" in str(text) for text in told) == 12


def test_fixtures_of_every_kind_as_in_a_serial_run(suite: Suite) -> None:
    suite.conftest(
        """
        import pytest
        @pytest.fixture
        def base(): return ["conftest"]
        @pytest.fixture(scope="session", params=[1, 2], ids="ab")
        def number(request): return request.param
        @pytest.fixture(scope="module", autouse=True)
        def of_module(request): request.addfinalizer(lambda: None)
        def scope(fixture_name, config): return "module"
        @pytest.fixture(scope=scope)
        def dynamic(): return object()
        @pytest.fixture(scope="module")
        def fails_later(): yield; raise ValueError("in teardown")
        """
    )
    suite.write(
        test_a="""
        import pytest
        def setup_module(module): module.ready = True
        def setup_function(function): function.seen = []
        @pytest.fixture
        def base(base): return [*base, "module"]
        @pytest.fixture
        def indirect(request): return request.param * 10
        def test_override(base): assert base == ["conftest", "module"]
        def test_number(number, base): print("in", number); assert number < 2, "one fails"
        @pytest.mark.parametrize("indirect", [1, 2], indirect=True)
        def test_indirect(indirect, number): assert indirect in (10, 20)
        @pytest.mark.usefixtures("dynamic")
        class Test:
            @pytest.fixture
            def base(self, base): return [*base, type(self).__name__]
            @classmethod
            def setup_class(cls): cls.value = 3
            def setup_method(self, method): self.name = method.__name__
            def teardown_method(self): print("down", self.name)
            def test_method(self, base, request):
                assert base == ["conftest", "module", "Test"] and ready and self.value == 3
                assert request.node.name == "test_method" == self.name
            def test_fails(self, tmp_path, number):
                print("here", number); assert not tmp_path.exists()
            @pytest.mark.xfail
            def test_xfail(self): assert 0
            @pytest.mark.skipif("sys.version_info > (3,)")
            def test_skip(self): pass
        @pytest.mark.parametrize("n", range(3))
        def test_teardown_fails(n, request): request.addfinalizer(lambda: 1 / n)
        """,
        test_b="""
        import unittest
        def test_shared_teardown_fails(fails_later): pass
        class TestUnit(unittest.TestCase):
            def setUp(self): self.here = 1
            def test_1(self): self.assertEqual(self.here, 1)
            def test_2(self): print("out"); self.assertEqual(self.here, 2)
        """,
    )
    suite.same(workers=0, ours=("--threads=1",))
    suite.same(workers=1, ours=("--threads=4",))


def test_what_a_shared_fixture_prints_is_told_with_the_test_that_sets_it_up(suite: Suite) -> None:
    """Of several at once, any may be the first."""
    suite.write(
        test_a="""
        import pytest
        @pytest.fixture(scope="session", params=[1, 2])
        def number(request): print("number", request.param); yield; print("over", request.param)
        def test_1(number): print("in 1")
        def test_2(number): print("in 2"); assert 0
        """
    )
    suite.same(workers=0, ours=("--threads=1",))


# --- output and state -------------------------------------------------------------------------


def test_a_warning_that_is_an_error_is_raised_without_a_frame_of_ours(suite: Suite) -> None:
    suite.write(
        test_a="""
        import warnings
        def test_explicit(): warnings.warn_explicit("explicit", UserWarning, "elsewhere.py", 77)
        def test_warns(): warnings.warn("here")
        """
    )
    suite.same("-W", "error", "--tb=long", ours=("--threads=2",), workers=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_pytest_raises_in_a_setup_is_shown(stage: Stage, threads: int) -> None:
    stage.write(
        test_a="""
        @pytest.fixture
        def nothing():
            if False: yield
        def test_it(nothing): pass
        """
    )
    run = stage.run(f"--threads={threads}", workers=1)
    assert re.search(r"^E {15}ValueError: nothing did not yield a value", run.text, re.MULTILINE)
    assert "pytest_braid" not in run.text


def test_the_live_log_of_a_test_stands_below_its_own_line(stage: Stage) -> None:
    stage.write(
        conftest=MEETS.format(2),
        test_a="""
        import logging
        from conftest import together
        @pytest.mark.parametrize("n", range(2))
        def test_it(n):
            known = [n]
            logging.getLogger().warning("first of %s", known)
            known.clear()
            together.wait()
            logging.getLogger().warning("last of %s", n)
        """,
    )
    options = ("--log-cli-level=INFO", "--log-cli-format=L %(message)s")
    run = stage.run("--threads=2", *options, workers=0)
    told = [line for line in run.text.splitlines() if line.startswith(("L ", "test_a.py::"))]
    whole = [[f"test_a.py::test_it[{n}] ", f"L first of [{n}]", f"L last of {n}"] for n in (0, 1)]
    assert [line.partition("PASSED")[0] for line in told] in (
        [*whole[0], *whole[1]],
        [*whole[1], *whole[0]],
    )


def lines_of_tests(run: Ended) -> list[str]:
    """What stands between the collection and the summary of a run in which all tests pass."""
    lines = run.text.splitlines()
    begin = next(n for n, line in enumerate(lines) if "collected" in line)
    end = next(
        n for n, line in enumerate(lines) if line.startswith(("threads: ", "=")) and n > begin
    )
    return lines[begin + 1 : end]


@pytest.mark.parametrize("options", ["-s", "-s -v", "-sv --log-cli-level=INFO", "-v"])
def test_with_one_thread_lines_and_output_stand_as_in_a_serial_run(
    stage: Stage, options: str
) -> None:
    stage.write(
        conftest="""
        import logging
        def pytest_runtest_protocol(item): logging.getLogger().warning("before")
        def pytest_runtest_logstart(nodeid): print("begins", nodeid)
        """,
        test_a="""
        import logging
        @pytest.mark.parametrize("n", range(3))
        def test_it(n):
            print("printed", n)
            logging.getLogger().warning("logged %s", n)
        """,
    )
    given = (*options.split(), "--log-cli-format=L %(message)s")
    serial = stage.serial(*given)
    assert lines_of_tests(stage.run("--threads=1", *given, workers=0)) == lines_of_tests(serial)


@pytest.mark.parametrize("protocol", ["", "-p rerun"])
def test_with_s_the_line_of_a_test_that_runs_alone_stands_above_what_it_prints(
    stage: Stage, protocol: str
) -> None:
    stage.write(
        rerun="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            runtestprotocol(item, nextitem=nextitem)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        """,
        test_a="""
        def test_it(): print("printed")
        """,
    )
    run = stage.run("-sv", "--threads=4", *protocol.split(), workers=0)
    assert run.text.count("test_a.py::test_it") == 1
    assert "test_a.py::test_it printed\nPASSED" in run.text


@pytest.mark.parametrize("capture", ["-s", "--capture=tee-sys"])
@pytest.mark.parametrize("workers", [0, 1])
def test_lines_of_tests_that_run_at_once_stay_whole(
    stage: Stage, workers: int, capture: str
) -> None:
    stage.write(
        test_a="""
        import threading
        first, second = threading.Event(), threading.Event()
        @pytest.mark.parametrize("stream", ["stdout", "stderr"])
        def test_one(stream):
            file = getattr(sys, stream)
            print("begun,", end=" ", file=file)
            first.set(); second.wait(30); second.clear()
            print("and ended", file=file)
        @pytest.mark.parametrize("stream", ["stdout", "stderr"])
        def test_other(stream):
            first.wait(30); first.clear()
            print("in between", file=getattr(sys, stream))
            second.set()
        """,
    )
    for name in ("stdout", "stderr"):
        run = stage.run(capture, "--threads=2", "-k", name, workers=workers)
        assert run.counts == {"passed": 2, "deselected": 2}
        text = run.text if name == "stdout" else run.errors
        assert "in between\n" in text
        assert "begun, and ended\n" in text, text


def test_what_a_test_prints_logs_and_warns_of_is_its_own(suite: Suite) -> None:
    suite.write(
        test_a="""
        import logging, os, sys, threading, warnings, pytest
        together = threading.Barrier(4, timeout=30) if "--threads=4" in sys.argv else None
        def meet(): together and together.wait()
        @pytest.fixture
        def noisy(): meet(); print("setup"); yield; meet(); print("teardown")
        @pytest.mark.parametrize("n", range(4))
        def test_it(noisy, n, capsys, caplog, tmp_path):
            print("captured", n)
            meet()
            logging.getLogger("a").warning("log %d", n)
            meet()
            assert capsys.readouterr().out == f"setup\\ncaptured {n}\\n"
            assert caplog.messages == [f"log {n}"]
            assert f"test_it[{n}] (call)" in os.environ["PYTEST_CURRENT_TEST"]
            thread = threading.Thread(target=lambda: print("of a thread", n))
            thread.start(); thread.join()
            with pytest.warns(UserWarning, match="expected"): meet(); warnings.warn("expected")
            warnings.warn(f"of {n}")
            print("last", n, file=sys.stderr)
            assert [1, n] == [1, -1]
        """
    )
    suite.same(workers=1, ours=("--threads=4",))


# --- faults -----------------------------------------------------------------------------------

SIXTY = """
    import time
    @pytest.mark.parametrize("n", range(60))
    def test_it(n):
        note("ran", n)
        {}
"""


def others(*but: int) -> Counter[str]:
    return Counter({str(n): 1 for n in range(60) if n not in but})


@METHODS
def test_a_crash_fails_its_test_and_the_innocent_pass(stage: Stage, method: str) -> None:
    stage.write(test_a=SIXTY.format("if n == 7: import ctypes; ctypes.string_at(0)"))
    run = stage.run("--threads=8", method, workers=2)
    assert (run.exit, run.counts) == (1, {"passed": 59, "failed": 1})
    assert "crashed while running 'test_a.py::test_it[7]'" in run.text
    assert run.ran >= others()


def test_a_crash_of_several_together_is_told_with_all_of_them(stage: Stage) -> None:
    stage.write(
        test_a="""
        import ctypes, threading
        together = threading.Barrier(2)
        def crash():
            try: together.wait(1)
            except threading.BrokenBarrierError: return
            ctypes.string_at(0)
        def test_1(): crash()
        def test_2(): crash()
        def test_3(): pass
        """
    )
    run = stage.run("--threads=2", workers=1)
    assert (run.exit, run.counts) == (0, {"passed": 3})
    told = run.section("braid: workers that died of tests that ran at once").splitlines()
    advice = (
        "gw0: its process was killed by signal 11 (SIGSEGV), while these ran at once. Each has "
        "ended by itself in a process of its own, so it takes several of them. Mark those with "
        "@pytest.mark.thread_unsafe that cannot run beside others:"
    )
    assert told[:3] == [advice, "  test_a.py::test_1", "  test_a.py::test_2"]


@METHODS
def test_of_several_tests_only_the_one_fails_that_hangs(stage: Stage, method: str) -> None:
    stage.write(test_a=SIXTY.format("if n == 7: time.sleep(1000)  # here"))
    run = stage.run("--threads=8", "--test-timeout=2", method, workers=2)
    assert (run.exit, run.counts) == (1, {"passed": 59, "failed": 1})
    report = run.report("test_it[7]")
    assert "Timeout at test_a.py:8 in test_it" in report
    stacks = report[report.index("Stacks of all threads") :]
    assert "in test_it" in stacks
    assert "worker/pool.py" not in stacks.partition("\n\n")[2], "threads that wait say nothing"


def test_after_the_first_failure_nothing_begins_and_everything_is_torn_down(stage: Stage) -> None:
    stage.write(
        conftest=UP_AND_DOWN,
        test_a=SIXTY.format("time.sleep(0.01 if n < 8 else 0.5); assert n != 7"),
    )
    run = stage.run("--threads=4", "-x", workers=1)
    assert run.exit == 1
    assert run.counts["failed"] == 1
    assert sum(run.counts.values()) <= 7 + 1 + 3
    assert run.notes.count("up test") == run.notes.count("down test")
    assert run.notes[-1] == "down session"


@pytest.mark.parametrize(
    "options",
    [
        ("-n1", "--threads=1"),
        ("-n1", "--threads=4"),
        ("-n0", "--threads=1"),
        ("-n0", "--threads=4"),
    ],
)
def test_what_the_first_failure_leaves_is_torn_down_and_may_fail(
    stage: Stage, options: tuple[str, ...]
) -> None:
    stage.write(
        test_a="""
        @pytest.fixture(scope="module")
        def shared(): yield; raise ValueError("in the end")
        def test_fails(shared): assert 0
        @pytest.mark.parametrize("n", range(20))
        def test_more(shared, n): pass
        """
    )
    run = stage.run(*options, "-x", workers=None)
    assert run.exit == pytest.ExitCode.TESTS_FAILED
    assert (run.counts["failed"], run.counts["errors"]) == (1, 1)
    assert "ValueError: in the end" in run.text


def test_tests_that_run_once_more_leave_to_others_what_is_theirs(stage: Stage) -> None:
    """As pytest-rerunfailures does it, which takes from the setup state what it will keep."""
    stage.write(
        conftest="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if any(report.failed for report in reports):
                item._request = False
                item._initrequest()
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            return True
        def pytest_runtest_teardown(item):
            item.session._setupstate.stack.clear()
        """,
        test_a="""
        import itertools
        setups, tried = itertools.count(), set()
        @pytest.fixture(scope="module")
        def shared(): assert next(setups); yield; note("down")
        @pytest.mark.parametrize("n", range(40))
        def test_it(n, shared):
            is_first = n not in tried
            tried.add(n)
            assert n < 8 or n % 4 or not is_first
        """,
    )
    run = stage.run("--threads=4", workers=1)
    assert run.counts == {"passed": 40}
    assert run.notes[-1] == "down"


def test_a_test_in_doubt_ends_before_others_begin(stage: Stage) -> None:
    stage.write(
        test_a="""
        import threading
        begun, failed = threading.Event(), threading.Event()
        def test_fails(): begun.wait(); assert 0
        def test_ends():
            begun.set()
            failed.wait()
            note("ended")
        @pytest.mark.parametrize("n", range(9))
        def test_more(n): note("more", n)
        """,
        conftest="""
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_teardown(item):
            if item.name == "test_fails":
                item.module.failed.set()
                hold("teardown")
            return (yield)
        """,
    )
    running = stage.start("--threads=2", "-x", "--braid-log=log", workers=1, gates=("teardown",))
    running.expect("ended", "holding teardown")
    running.release("teardown")
    run = running.end()
    assert run.counts["failed"] == 1
    assert strands_of(stage.path / "log") == [1, 2], "no other test has begun"


def test_what_runs_beside_the_failure_that_stops_the_run_is_told(stage: Stage) -> None:
    """Its worker says that it stops, and that a test has ended, while another still runs tests."""
    stage.write(
        conftest=MEETS.format(2),
        test_a="""
        import threading
        from conftest import together
        over = threading.Event()
        @pytest.mark.xdist_group("one")
        class Test1:
            def test_fails(self): hold("fails"); assert 0
            def test_goes_on(self): hold("goes on")
            def test_more(self): note("more")
        @pytest.mark.xdist_group("other")
        def test_elsewhere(): hold("elsewhere")
        """,
    )
    running = stage.prepare("--threads=2", "-xv", "--dist=loadgroup", workers=2)
    running.gate("fails", "goes on", "elsewhere")
    running.start(piped=True)
    running.expect("holding fails", "holding goes on", "holding elsewhere")
    running.release("fails")
    running.await_text("FAILED")
    running.release("goes on")
    running.await_text("PASSED test_a.py::Test1::test_goes_on")
    running.release("elsewhere")
    run = running.end()
    assert run.counts == {"failed": 1, "passed": 2}
    assert "more" not in run.notes


@METHODS
def test_ctrl_c_interrupts_tests_that_wait_and_tears_down(stage: Stage, method: str) -> None:
    stage.write(
        conftest=UP_AND_DOWN,
        test_a="""
        import time
        @pytest.mark.parametrize("n", range(3))
        def test_it(n):
            note("begun", n)
            while True: time.sleep(0.01)  # here
        """,
    )
    running = stage.start("--threads=3", method, workers=1)
    running.expect("begun 0", "begun 1", "begun 2")
    running.send_to_group(signal.SIGINT)
    run = running.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    cut = run.section("Interrupted while running")
    assert all(f"gw0: test_a.py::test_it[{n}]" in cut for n in range(3))
    # The first may have been in the middle of its note.
    assert re.search(r"/(test_a\.py:8|e2e_notes\.py:\d+): KeyboardInterrupt", run.text)
    assert run.notes.count("up test") == run.notes.count("down test") == 3
    assert run.notes[-1] == "down session"


def test_ctrl_c_does_not_wait_for_a_test_that_is_blocked(stage: Stage) -> None:
    stage.write(
        conftest=UP_AND_DOWN,
        test_a="""
        import threading
        def test_blocked(): note("blocked"); threading.Lock().acquire() and threading.Event().wait()
        """,
    )
    running = stage.start("--threads=2", workers=1)
    running.expect("blocked")
    running.send(signal.SIGINT)
    run = running.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    assert run.notes[-3:] == ["down test", "down module", "down session"]


def test_pytest_exit_in_a_test_ends_the_run_as_serially(stage: Stage) -> None:
    stage.write(conftest=UP_AND_DOWN, test_a=SIXTY.format("if n == 7: pytest.exit('enough', 9)"))
    run = stage.run("--threads=4", workers=1)
    assert run.exit == 9
    assert "Exit: enough" in run.text
    assert run.notes[-1] == "down session"


@pytest.mark.parametrize("threads", [1, 4])
def test_pytest_exit_in_the_last_test_without_workers(stage: Stage, threads: int) -> None:
    stage.write(test_a="def test_it(): pytest.exit('enough', 9)")
    run = stage.run(f"--threads={threads}", workers=0)
    assert run.exit == 9
    assert "Exit: enough" in run.text


def test_hooks_of_a_conftest_around_the_loop_are_called_without_workers(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_runtestloop(session): note("before the loop")
        """,
        test_a="def test_it(): note('ran it')",
    )
    assert stage.run("--threads=2", workers=0).notes == ["before the loop", "ran it"]


# --- tests that step aside --------------------------------------------------------------------

UNSAFE = """
    @pytest.mark.parametrize("n", range(4))
    def test_plain(n): note("ran plain")
    def test_patches(monkeypatch): monkeypatch.setenv("A", "1"); note("ran patches")
    def move(path): os.chdir(path)
    def test_moves(tmp_path): move(tmp_path); note("ran moves")
    @pytest.mark.thread_unsafe(reason="mine")
    def test_marked(capfd):
        os.write(1, b"of a descriptor"); note("ran marked")
        assert capfd.readouterr().out == "of a descriptor"
"""


@METHODS
def test_what_changes_the_process_runs_alone_and_the_run_says_why(
    stage: Stage, method: str
) -> None:
    stage.write(test_a=UNSAFE)
    run = stage.run("--threads=4", method, "--braid-explain", workers=1)
    assert run.counts == {"passed": 7}
    assert "threads: 4 of 7 tests ran in threads, " in run.text
    told = run.section("braid: how tests ran, and what they waited for")
    for name, reason in (
        ("patches", "fixture monkeypatch"),
        ("moves", "os.chdir in move() (test_a.py:7)"),
        ("marked", "mark thread_unsafe: mine"),
    ):
        assert f"test_a.py::test_{name}\n  ran alone in its worker: {reason}" in told
    assert "test_a.py::test_plain[0]\n  ran in thread " in told


@pytest.mark.parametrize("options", [("-n", "1"), ("-n", "0")], ids=" ".join)
def test_an_overlooked_change_is_not_made_and_fails_its_test(
    stage: Stage, options: tuple[str, ...]
) -> None:
    stage.write(
        conftest="""
        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_makereport(item):
            report = yield
            if report.failed: note("failed", item.name)
            return report
        """,
        test_a="""
        act = {"a": os.chdir}
        def test_moves(): act["a"]("/")
        def test_swallows():
            try: act["a"]("/")
            except BaseException: pass
        def test_late(request): request.getfixturevalue("".join(["cap", "fd"]))
        @pytest.mark.xfail
        def test_expects(): act["a"]("/")
        @pytest.mark.xfail(strict=True)
        def test_expects_and_swallows():
            try: act["a"]("/")
            except BaseException: pass
        @pytest.mark.parametrize("n", range(4))
        def test_here(n): assert os.getcwd() != "/"
        """,
    )
    run = stage.run("--threads=4", *options)
    assert run.counts == {"passed": 4, "failed": 5}
    noted = sorted(line for line in run.notes if line.startswith("failed"))
    assert noted == ["failed test_late", "failed test_moves", "failed test_swallows"]
    for name in ("moves", "swallows", "expects", "expects_and_swallows"):
        report = run.report(f"test_{name}")
        assert "os.chdir('/') at test_a.py:" in report
        assert "mark the test with @pytest.mark.thread_unsafe" in report
    assert "request of 'capfd' at test_a.py:" in run.report("test_late")
    assert "Let the test ask for it as an argument" in run.report("test_late")


def test_a_session_fixture_that_all_use_may_change_the_process(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session", autouse=True)
        def environment():
            os.environ["BRAIDED"] = "yes"
            yield
            del os.environ["BRAIDED"]
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(8))
        def test_it(n): assert os.environ["BRAIDED"] == "yes"
        """,
    )
    run = stage.run("--threads=4", workers=1)
    assert run.counts == {"passed": 8}
    assert "threads: 8 of 8 tests ran in threads" in run.text


def test_a_report_is_told_as_it_was_when_it_was_reported(stage: Stage) -> None:
    """pytest-retry tells one as retried, and then makes it that of the last attempt."""
    stage.write(
        conftest="""
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(item, call):
            report = yield
            if call.when == "call":
                report.outcome = "rerun"
                item.ihook.pytest_runtest_logreport(report=report)
                report.outcome = "passed"
            return report
        """,
        test_a="""
        def test_it(): pass
        """,
    )
    run = stage.run("--threads=2", workers=1)
    assert run.counts == {"passed": 1, "rerun": 1}, run.text


# --- who tells --------------------------------------------------------------------------------

_HEARS = """
    import threading, pytest
    def pytest_runtest_logreport(report):
        assert threading.current_thread() is threading.main_thread()
        note(f"{report.nodeid} {report.when}")
"""

_MANY = """
    import os, threading
    @pytest.mark.parametrize("n", range(40))
    def test_it(n):
        assert threading.get_native_id() != os.getpid()
        print("said", n)
        assert n % 8 != 3
"""


@pytest.mark.parametrize(("threads", "workers"), [(1, 0), (4, 0), (2, 1), (4, 1)])
def test_a_plugin_hears_of_reports_in_the_main_thread(
    stage: Stage, threads: int, workers: int
) -> None:
    stage.write(conftest=_HEARS, test_a=_MANY)
    run = stage.run(f"--threads={threads}", workers=workers)
    assert run.counts == {"passed": 35, "failed": 5}
    told = Counter(note.split()[0] for note in run.notes)
    assert len(told) == 40
    assert set(told.values()) == {3 * (1 + workers)}  # in the worker, and in the controller


@pytest.mark.parametrize("threads", [1, 4])
def test_without_such_a_plugin_threads_tell_by_themselves(suite: Suite, threads: int) -> None:
    suite.write(
        test_a="""
        @pytest.mark.parametrize("n", range(40))
        def test_it(n):
            print("said", n)
            assert n % 7 != 3
        """
    )
    suite.same(ours=(f"--threads={threads}",), workers=1)


def test_a_test_that_steps_aside_is_told_its_own_cpu(stage: Stage) -> None:
    """And not what the tests on threads have computed before it."""
    stage.write(
        test_a="""
        import time
        def test_1():
            end = time.thread_time() + 0.3
            while time.thread_time() < end: pass
        @pytest.mark.thread_unsafe
        def test_2(): pass
        """
    )
    log = stage.base / "log.jsonl"
    assert stage.run("--threads=2", f"--braid-log={log}", workers=1).counts == {"passed": 2}
    events = map(json.loads, log.read_text().splitlines())
    cpu = {event["test"]: event["cpu"] for event in events if event["type"] == "Finished"}
    assert cpu[0] >= 0.3 > cpu[1]
