"""``--dist``: which tests stay together, in which order, and what happens when one crashes."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Suite, differences
from tests.e2e.test_options import properties, workers_line

TELL = """
@pytest.fixture(autouse=True)
def told(request, worker_id): note("at", worker_id, request.node.nodeid)
"""
"""A conftest with which each test notes its worker."""

MEET = """
@pytest.fixture(scope="session", autouse=True)
def met(worker_id): hold(worker_id)
"""
"""With which no worker goes on from its first test until it is let."""


def shares(run: Ended) -> dict[str, list[str]]:
    """The node ids that each worker ran, in order."""
    found: dict[str, list[str]] = {}
    for _, worker, nodeid in (line.split() for line in run.notes if line.startswith("at ")):
        found.setdefault(worker, []).append(nodeid)
    return found


def run_met(stage: Stage, *args: str, workers: int = 2) -> Ended:
    """Run it so that every worker begins a test before any of them ends its first."""
    first = [f"gw{n}" for n in range(workers)]
    running = stage.prepare(*args, workers=workers)
    running.gate(*first, *(f"gw{n}" for n in range(workers, 2 * workers)))
    running.start()
    running.expect(*(f"holding {name}" for name in first))
    for n in range(2 * workers):
        for _ in range(workers):  # successors of the crashed, and later set-ups, do not wait
            running.release(f"gw{n}")
    return running.end()


def require_together(run: Ended, *units: list[str]) -> None:
    """Require that each unit ran in one worker, in its order, with nothing in between."""
    ran = shares(run)
    for unit in units:
        (worker,) = {name for name, share in ran.items() if {*share} & {*unit}}
        at = ran[worker].index(unit[0])
        assert ran[worker][at : at + len(unit)] == unit
    assert sum(map(len, ran.values())) == sum(map(len, units))


# --- what stays together ----------------------------------------------------------------------

PARTED = """
class TestX:
    @pytest.mark.parametrize("v", ["a::b", "a/b::c", "[x::y]", "z"])
    def test_1(self, v): pass
    class TestInner:
        def test_2(self): pass
        def test_3(self): pass
    def test_4(self): pass
@pytest.mark.parametrize("v", ["[a/b::c]", "d"])
def test_5(v): pass
def test_6(): pass
class TestY:
    def test_7(self): pass
    def test_8(self): pass
"""

IDS = {
    "TestX": [
        *(f"TestX::test_1[{value}]" for value in ("a::b", "a/b::c", "[x::y]", "z")),
        "TestX::test_4",
    ],
    "TestInner": ["TestX::TestInner::test_2", "TestX::TestInner::test_3"],
    "module": ["test_5[[a/b::c]]", "test_5[d]", "test_6"],
    "TestY": ["TestY::test_7", "TestY::test_8"],
}


@pytest.fixture
def parted(stage: Stage) -> Stage:
    """Two files with functions, classes, a class in a class, and parameters with colons."""
    stage.write(conftest=TELL + MEET, test_a=PARTED, test_b=PARTED)
    return stage


@pytest.mark.parametrize("workers", [2, 3])
def test_loadscope_keeps_classes_and_modules_functions_together(
    parted: Stage, workers: int
) -> None:
    run = run_met(parted, "--dist=loadscope", workers=workers)
    assert run.counts == {"passed": 24}
    scopes = [
        [f"{file}::{i}" for i in ids] for file in ("test_a.py", "test_b.py") for ids in IDS.values()
    ]
    require_together(run, *scopes)


def test_loadfile_keeps_files_together(parted: Stage) -> None:
    parted.write(test_c="def test_1(): pass")
    run = run_met(parted, "--dist=loadfile")
    order = [
        *IDS["TestX"][:-1],
        *IDS["TestInner"],
        "TestX::test_4",
        *IDS["module"],
        *IDS["TestY"],
    ]
    files = [[f"{file}::{i}" for i in order] for file in ("test_a.py", "test_b.py")]
    require_together(run, *files, ["test_c.py::test_1"])


def test_loadgroup_keeps_groups_together_over_files_and_leaves_node_ids_alone(
    stage: Stage,
) -> None:
    stage.write(
        conftest=TELL + MEET,
        test_a="""
        @pytest.mark.xdist_group("one")
        @pytest.mark.parametrize("v", ["a::b", "[a/b::c]", "x@y"])
        def test_1(v): pass
        def test_2(): pass
        @pytest.mark.xdist_group(name="two")
        class TestX:
            def test_3(self): pass
            @pytest.mark.xdist_group("one")
            def test_4(self): pass
            def test_5(self): pass
        @pytest.mark.xdist_group
        def test_6(): pass
        """,
        test_b="""
        pytestmark = pytest.mark.xdist_group("one")
        def test_1(): pass
        @pytest.mark.xdist_group("two")
        @pytest.mark.xdist_group("two")
        def test_2(): pass
        """,
        test_c="""
        def test_1(): pass
        @pytest.mark.xdist_group(name="default")
        def test_2(): pass
        @pytest.mark.xdist_group("two")
        def test_3(): pass
        @pytest.mark.xdist_group("one_two")
        def test_4(): pass
        """,
    )
    run = run_met(stage, "--dist=loadgroup", "--strict-markers")
    assert run.counts == {"passed": 14}
    one = [f"test_a.py::test_1[{v}]" for v in ("a::b", "[a/b::c]", "x@y")]
    require_together(
        run,
        [*one, "test_b.py::test_1"],
        ["test_a.py::TestX::test_3", "test_a.py::TestX::test_5", "test_c.py::test_3"],
        ["test_a.py::TestX::test_4", "test_b.py::test_2", "test_c.py::test_4"],
        ["test_a.py::test_6", "test_c.py::test_2"],
        ["test_a.py::test_2"],
        ["test_c.py::test_1"],
    )


def test_the_terminal_names_groups_and_nothing_else_does(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.xdist_group("b")
        @pytest.mark.xdist_group(name="a")
        def test_1(): assert 0
        def test_2(): pass
        """
    )
    run = stage.run("-v", "--dist=loadgroup", "--junitxml=junit.xml")
    assert re.findall(r"^\[gw\d\] \[ *\d+%\] (\w+ \S+) $", run.text, re.MULTILINE) in (
        ["FAILED test_a.py::test_1@a_b", "PASSED test_a.py::test_2"],
        ["PASSED test_a.py::test_2", "FAILED test_a.py::test_1@a_b"],
    )
    assert "FAILED test_a.py::test_1 - assert 0" in run.text
    assert "test_1@" not in (stage.path / "junit.xml").read_text()
    again = stage.run("-v", "--dist=loadfile", "--lf")
    assert again.counts == {"failed": 1}
    assert "test_1@" not in again.text


def test_the_group_stands_in_front_of_where_an_inherited_test_comes_from(stage: Stage) -> None:
    stage.write(
        base="class Base:\n    def test_1(self): pass",
        test_a="""
        from base import Base
        @pytest.mark.xdist_group("db")
        class TestIt(Base): pass
        """,
    )
    run = stage.run("-vv", "--dist=loadgroup")
    assert "PASSED test_a.py::TestIt::test_1@db <- base.py " in run.text


def test_fixtures_of_a_unit_are_set_up_once(stage: Stage) -> None:
    module = """
    @pytest.fixture(scope="module", autouse=True)
    def of_module():
        note("up", __name__)
        yield
        note("down", __name__)
    @pytest.mark.parametrize("n", range(9))
    def test_1(n): pass
    """
    names = [f"test_{n}" for n in range(5)]
    stage.write(conftest=MEET, **dict.fromkeys(names, module))
    run = run_met(stage, "--dist=loadfile")
    expected = Counter(f"{word} {name}" for name in names for word in ("up", "down"))
    assert Counter(line for line in run.notes if line in expected) == expected
    assert sum(run.notes.count(line) for line in expected) == 10
    assert run.counts == {"passed": 45}


SIZES = {"test_a": 1, "test_b": 3, "test_c": 2}


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ((), "bca"),
        (("--loadscope-reorder",), "bca"),
        (("--no-loadscope-reorder",), "abc"),
        (("--no-loadscope-reorder", "--loadscope-reorder"), "bca"),
    ],
)
@pytest.mark.parametrize("mode", ["loadscope", "loadfile"])
def test_the_largest_unit_is_begun_first_unless_told_otherwise(
    stage: Stage, mode: str, options: tuple[str, ...], order: str
) -> None:
    modules = {
        name: "\n".join(f"def test_{n}(): pass" for n in range(size))
        for name, size in SIZES.items()
    }
    stage.write(conftest=TELL, **modules)
    run = stage.run(f"--dist={mode}", *options, workers=1)
    assert shares(run)["gw0"] == [
        f"test_{letter}.py::test_{n}" for letter in order for n in range(SIZES[f"test_{letter}"])
    ]


MIXED = """
import pytest, warnings
@pytest.fixture(scope="module")
def shared(): return 1
@pytest.mark.xdist_group("g")
class TestX:
    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_1(self, n): assert n
    def test_2(self, shared, record_property): record_property("a", 1)
@pytest.mark.xdist_group("g")
def test_3(shared): warnings.warn("told")
@pytest.mark.skip(reason="why")
def test_4(): pass
@pytest.mark.xdist_group("a")
@pytest.mark.xdist_group("b")
@pytest.mark.parametrize("v", ["a::b", "[c/d::e]", "x@y"])
def test_5(v): print(v); raise ValueError
@pytest.mark.xfail(reason="known")
def test_6(): assert 0
@pytest.fixture
def bad(shared): raise ValueError
def test_7(bad): pass
"""


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup"])
def test_a_mode_of_units_reports_what_a_serial_run_does(
    suite: Suite, mode: str, workers: int
) -> None:
    suite.ini("markers = xdist_group: known to the serial run too")
    suite.write(test_a=MIXED, test_b=MIXED, test_c="def test_1(): pass")
    serial, braid = suite.serial(), suite.braid(f"--dist={mode}", workers=workers)
    assert not differences(serial, braid)


# --- crashes ----------------------------------------------------------------------------------

MODES = ["load", "worksteal", "loadscope", "loadfile", "loadgroup"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("mode", [*MODES, "each"])
def test_the_one_that_ends_its_process_fails_alone_in_every_mode(
    stage: Stage, mode: str, workers: int
) -> None:
    stage.write(
        test_a="""
        pytestmark = pytest.mark.xdist_group("g")
        def test_1(): note("ran 1")
        def test_2(): note("ran 2"); os._exit(3)
        def test_3(): note("ran 3")
        """
    )
    run = stage.run(f"--dist={mode}", workers=workers)
    times = workers if mode == "each" else 1
    assert run.exit == 1
    assert run.counts == {"passed": 2 * times, "failed": times}
    assert run.ran == Counter({"1": times, "2": times, "3": times})


CRASHING = """
pytestmark = pytest.mark.xdist_group("crashing")
class TestX:
    @pytest.mark.parametrize("v", ["a::b", "[a/b::c]", "c"])
    def test_before(self, v): pass
    def test_crashes(self): os._exit(3)
    @pytest.mark.parametrize("v", ["a::b", "[a/b::c]", "c"])
    def test_after(self, v): pass
"""


@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup"])
def test_the_rest_of_a_unit_goes_to_one_other_worker_in_order(stage: Stage, mode: str) -> None:
    other = """
    @pytest.mark.xdist_group(__name__)
    @pytest.mark.parametrize("n", range(5))
    def test_1(n): pass
    """
    stage.write(conftest=TELL + MEET, test_a=other, test_b=CRASHING, test_c=other)
    run = run_met(stage, f"--dist={mode}")
    assert (run.exit, run.counts) == (1, {"passed": 16, "failed": 1})
    values = ("a::b", "[a/b::c]", "c")
    others = [[f"test_{name}.py::test_1[{n}]" for n in range(5)] for name in "ac"]
    before = [f"test_b.py::TestX::test_before[{v}]" for v in values]
    after = [f"test_b.py::TestX::test_after[{v}]" for v in values]
    require_together(run, *others, [*before, "test_b.py::TestX::test_crashes"], after)


@pytest.mark.parametrize("mode", ["loadscope", "loadfile", "loadgroup", "each"])
def test_a_unit_of_crashers_ends_each_of_them_once(stage: Stage, mode: str) -> None:
    stage.write(
        test_a="""
        @pytest.mark.xdist_group("g")
        @pytest.mark.parametrize("n", range(4))
        def test_1(n): note("ran", n); os._exit(3)
        """,
        test_b="def test_1(): note('ran it')",
    )
    run = stage.run(f"--dist={mode}")
    times = 2 if mode == "each" else 1
    assert (run.exit, run.counts) == (1, {"passed": times, "failed": 4 * times})
    assert run.ran == Counter(dict.fromkeys(("0", "1", "2", "3", "it"), times))


# --- each -------------------------------------------------------------------------------------

ELEVEN = [f"test_a.py::test_1[{n}]" for n in range(11)]


@pytest.fixture
def eleven(stage: Stage) -> Stage:
    stage.write(
        conftest=TELL,
        test_a="@pytest.mark.parametrize('n', range(11))\ndef test_1(n): pass",
    )
    return stage


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_each_every_worker_runs_everything_in_order(eleven: Stage, workers: int) -> None:
    run = eleven.run("--dist=each", workers=workers)
    assert (run.exit, run.counts) == (0, {"passed": 11 * workers})
    assert shares(run) == {f"gw{n}": ELEVEN for n in range(workers)}
    noun = "worker" if workers == 1 else "workers"
    assert f"{workers} {noun} [11 items]" in run.text.splitlines()


def test_in_each_there_may_be_more_workers_than_tests(stage: Stage) -> None:
    stage.write(conftest=TELL, test_a="def test_1(): pass")
    run = stage.run("--dist=each", workers=3)
    assert (run.exit, run.counts) == (0, {"passed": 3})
    assert shares(run) == {f"gw{n}": ["test_a.py::test_1"] for n in range(3)}
    assert "3 workers [1 item]" in run.text.splitlines()


def test_in_each_reports_carry_the_worker_and_the_tests_own_number(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_runtest_logreport(report):
            if hasattr(report, "node") and report.when == "call":
                note("at", report.node.gateway.id, report.worker_id, report.item_index)
        def pytest_xdist_node_collection_finished(node, ids): note("has", node.gateway.id, *ids)
        """,
        test_a="def test_0(): pass\ndef test_1(): assert 0\ndef test_2(): os._exit(3)",
    )
    run = stage.run("--dist=each", "-v")
    told = {line for line in run.notes if line.startswith("at ")}
    assert told == {f"at gw{n} gw{n} {test}" for n in range(2) for test in range(3)}
    ids = " ".join(f"test_a.py::test_{n}" for n in range(3))
    assert [line for line in run.notes if line.startswith("has ") and "gw1" in line] == [
        f"has gw1 {ids}"
    ]
    lines = Counter(
        f"{line.split()[0]} {line.split(']')[-1].strip()}"
        for line in run.text.splitlines()
        if line.startswith("[gw") and " -- " not in line and "node down" not in line
    )
    assert lines == Counter(
        f"[gw{n}] {word} test_a.py::test_{test}"
        for n in range(2)
        for test, word in enumerate(("PASSED", "FAILED", "FAILED"))
    )


def test_in_each_a_successor_goes_on_with_the_rest_of_the_copy(stage: Stage) -> None:
    stage.write(
        conftest=TELL,
        test_a="""
        @pytest.mark.parametrize("n", range(9))
        def test_1(n, worker_id):
            if (worker_id, n) in {("gw1", 2), ("gw2", 5)}: os._exit(3)
        """,
    )
    run = stage.run("--dist=each")
    assert (run.exit, run.counts) == (1, {"passed": 16, "failed": 2})
    ids = [f"test_a.py::test_1[{n}]" for n in range(9)]
    assert shares(run) == {"gw0": ids, "gw1": ids[:3], "gw2": ids[3:6], "gw3": ids[6:]}
    assert "worker 'gw2' crashed while running 'test_a.py::test_1[5]'" in run.text


def test_in_each_the_ledger_names_the_copy(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1(): pass
        def test_2(worker_id): hold(worker_id); os._exit(3)
        def test_3(): pass
        """,
    )
    run = run_met(stage, "--dist=each", "--max-worker-restart=0")
    assert (run.exit, run.counts) == (1, {"passed": 2, "failed": 2})
    assert run.section("braid: tests without exactly one outcome").splitlines() == [
        "not run: test_a.py::test_3 (copy of gw0)",
        "not run: test_a.py::test_3 (copy of gw1)",
    ]


def test_in_each_ctrl_c_names_what_ran_in_each_worker(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass\ndef test_2(worker_id): hold(worker_id)")
    running = stage.start("--dist=each", gates=("gw0", "gw1"))
    running.expect("holding gw0", "holding gw1")
    running.send(signal.SIGINT)
    run = running.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    cut = run.section("Interrupted while running").splitlines()
    assert sorted(line.partition(" (after ")[0] for line in cut) == [
        "gw0: test_a.py::test_2",
        "gw1: test_a.py::test_2",
    ]


@pytest.mark.parametrize("failing", ["gw0", "gw1"])
def test_in_each_the_first_failure_can_stop_all(stage: Stage, failing: str) -> None:
    stage.write(
        conftest="""
        def pytest_runtest_logreport(report):
            if report.failed and hasattr(report, "node"): note("failed in", report.worker_id)
        """,
        test_a=f"""
        def test_1(worker_id):
            if worker_id == "{failing}":
                hold("first")
                assert 0
        @pytest.mark.parametrize("n", range(400))
        def test_2(n): hold("rest")
        """,
    )
    running = stage.start("--dist=each", "-x", gates=("first", "rest"))
    running.expect("holding first", "holding rest")
    running.release("first")
    running.expect(f"failed in {failing}")
    for _ in range(400):
        running.release("rest")
    run = running.end()
    assert (run.exit, run.counts["failed"]) == (1, 1)
    assert run.counts["passed"] < 401
    assert "stopping after 1 failures" in run.text


def test_in_each_one_worker_reports_what_a_serial_run_does(suite: Suite) -> None:
    suite.ini("markers = xdist_group: known to the serial run too")
    suite.write(test_a=MIXED, test_b=MIXED)
    serial, braid = suite.serial(), suite.braid("--dist=each", workers=1)
    assert not differences(serial, braid)


def test_in_each_the_junit_file_and_the_cache_know_all(suite: Suite) -> None:
    suite.write(
        test_a="""
        def test_1(record_xml_attribute, worker_id): record_xml_attribute("by", worker_id)
        def test_2(worker_id): assert worker_id == "none"
        def test_3(): print("out"); assert 0
        """
    )
    run = suite.braid("--dist=each", "-o", "junit_family=xunit1")
    assert run.exit == 1
    (summary,) = (text for text in run.junit_cases if text.startswith("<testsuite"))
    assert 'failures="4"' in summary
    assert 'tests="6"' in summary
    cases = [text for text in run.junit_cases if text.startswith("<testcase")]
    names = Counter(name for text in cases for name in re.findall(r' name="(\w+)"', text))
    assert names == Counter({"test_1": 2, "test_2": 2, "test_3": 2})
    assert sorted(by for text in cases for by in re.findall(r'by="(\w+)"', text)) == ["gw0", "gw1"]
    assert run.cache["cache/lastfailed"] == {"test_a.py::test_2": True, "test_a.py::test_3": True}
    again = suite.braid("--dist=each", "--lf")
    assert "run-last-failure: rerun previous 2 failures" in again.text
    assert len(again.told("logstart")) == 4
    assert {*again.outcomes} == {"test_a.py::test_2", "test_a.py::test_3"}


# --- options ----------------------------------------------------------------------------------


@pytest.fixture
def twelve(suite: Suite) -> Suite:
    """A suite of twelve tests that tell which worker runs them."""
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(12))
        def test_1(n, worker_id, record_property): record_property("worker", worker_id)
        """
    )
    return suite


@pytest.mark.parametrize(
    ("args", "workers", "mode"),
    [
        ("-n2", 2, "Load"),
        ("-n2 -d", 2, "Load"),
        ("-n2 -d --dist=worksteal", 2, "Load"),
        ("-n2 --dist=no", 2, "Load"),
        ("-n2 --dist=load --maxschedchunk=3", 2, "Load"),
        ("-n2 --dist=worksteal", 2, "WorkStealing"),
        ("-n2 --dist=loadgroup", 2, "LoadGroup"),
        ("-n2 --dist=each", 2, "Each"),
        ("-n2 --dist=loadscope", 1, "LoadScope"),
        ("--tx popen -d", 1, "Load"),
        ("--tx=2*popen -d", 2, "Load"),
        ("--tx popen --tx 2*popen --dist worksteal", 3, "WorkStealing"),
        ("--tx 9*popen --dist=loadfile", 1, "LoadFile"),
        ("--tx 9*popen --dist=each --maxprocesses=3", 3, "Each"),
        ("-n2 --tx 5*popen -d", 2, "Load"),
    ],
)
def test_the_ways_to_say_it(twelve: Suite, args: str, workers: int, mode: str) -> None:
    run = twelve.plain("-p", "braid", "-v", *args.split())
    noun = "worker" if workers == 1 else "workers"
    assert workers_line(run) == f"{workers} {noun} [12 items]"
    assert f"scheduling tests via {mode}Scheduling" in run.lines
    assert properties(run, "worker") <= {f"gw{n}" for n in range(workers)}
    assert run.exit == 0


def test_the_name_of_the_scheduler_is_for_the_curious(twelve: Suite) -> None:
    assert "scheduling tests" not in twelve.braid().text


@pytest.mark.parametrize(
    "args",
    [
        "-d",
        "--dist=loadfile",
        "--dist=each",
        "--tx=2*popen",
        "-n0 --tx=2*popen -d",
        "-n0 --dist=each",
    ],
)
def test_nothing_is_distributed_without_workers_or_without_a_mode(twelve: Suite, args: str) -> None:
    run = twelve.plain("-p", "braid", "-v", *args.split())
    assert properties(run, "worker") == {"master"}
    assert "scheduling tests" not in run.text
    assert run.exit == 0


def test_pdb_is_refused_with_tx_as_with_a_number(twelve: Suite) -> None:
    run = twelve.plain("-p", "braid", "--pdb", "--tx=popen", "-d")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    assert "--pdb is incompatible with distributing tests" in run.errors


def test_a_chunk_is_no_larger_than_said(suite: Suite) -> None:
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(99))\ndef test_1(n): pass"
    )
    log = suite.base / "log"

    def largest(*options: str) -> int:
        suite.braid(f"--braid-log={log}", *options)
        events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        return max(len(event["tests"]) for event in events if event["type"] == "Assign")

    assert largest() > 1
    assert largest("--maxschedchunk=1") == 1
    assert largest("-x") == largest("--maxfail=1") == 1
    assert largest("--maxfail=2") > 1


WATCH = (
    "-f/--looponfail: braid runs a suite once and does not watch its files. pytest-watcher does, "
    "and runs pytest again after each change: pip install pytest-watcher, then ptw . -n auto."
)
NOT_LOCAL = "workers run on this machine: log in to the other one and run pytest -n N there"
INTERPRETER = (
    "workers are forked from this process and have its interpreter: run pytest itself with the "
    "other one, as in 'python3.13 -m pytest -n N'"
)
DIRECTORY = "workers begin in the directory of this process: change to the other one before"
ENVIRONMENT = (
    "workers inherit the environment of this process: set the variable there, as in 'NAME=value "
    "pytest -n N'"
)
SPECS = {
    "ssh=host//python=python3": NOT_LOCAL,
    "socket=host:8888": NOT_LOCAL,
    "3*popen//python=python3.9": INTERPRETER,
    "popen//chdir=sub": DIRECTORY,
    "popen//env:A=1": ENVIRONMENT,
    **dict.fromkeys(
        ("nonsense", "0*popen", "x*popen", "*popen", "popen//id=a", "2*3*popen"),
        "give 'popen' for a worker, 'N*popen' for N of them",
    ),
}
COPY = (
    "workers run on this machine and read the files where they are, so there is nothing to copy: "
    "leave it out. For another machine, copy the project there, and run pytest -n N there."
)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        *((f"--tx={s}", f"argument --tx: '{s}' is not possible: {SPECS[s]}") for s in SPECS),
        ("--maxschedchunk=0", "argument --maxschedchunk: '0' is not a whole number of 1 or more"),
        ("--maxschedchunk=x", "argument --maxschedchunk: 'x' is not a whole number of 1 or more"),
        ("-f", WATCH),
        ("--looponfail", WATCH),
        ("--rsyncdir=src", f"--rsyncdir: {COPY}"),
        ("--rsyncignore=*.pyc", f"--rsyncignore: {COPY}"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_use_instead(
    twelve: Suite, args: str, message: str
) -> None:
    for more in ([], ["-n2"]):
        run = twelve.plain("-p", "braid", args, *more)
        assert run.exit == pytest.ExitCode.USAGE_ERROR
        assert message in run.errors
        assert "Traceback" not in run.errors
        assert not run.told("logreport")


def test_refused_options_are_not_in_the_help(twelve: Suite) -> None:
    text = twelve.plain("-p", "braid", "--help").text
    assert "--looponfail" not in text
    assert "--rsync" not in text


def test_the_mark_is_known_in_every_run(suite: Suite) -> None:
    suite.write(test_a="import pytest\n@pytest.mark.xdist_group('g')\ndef test_1(): pass")
    for args in ([], ["-n0"], ["-n2"], ["-n2", "--dist=loadgroup"]):
        run = suite.plain("-p", "braid", "--strict-markers", *args)
        assert run.exit == 0, args
    listed = suite.plain("-p", "braid", "--markers").lines
    assert (
        "@pytest.mark.xdist_group(name): with --dist loadgroup, tests of the same name run in one "
        "worker."
    ) in listed
