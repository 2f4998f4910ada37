"""Marks of what a test must have for itself: ``alone``, ``resource_lock``, ``cpus``."""

from __future__ import annotations

import re

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Suite
from tests.timeline import Timeline


def logged(stage: Stage, *args: str, workers: int = 3) -> tuple[Ended, Timeline]:
    path = stage.base / "log.jsonl"
    run = stage.run(*args, f"--braid-log={path}", workers=workers)
    return run, Timeline(path)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("mode", ["load", "worksteal", "loadscope", "loadfile", "each"])
def test_marks_of_class_and_module_count_too(stage: Stage, mode: str, method: str) -> None:
    source = """
        pytestmark = pytest.mark.resource_lock("file")
        class TestA:
            def test_1(self): os.sched_yield()
            @pytest.mark.alone
            def test_2(self): os.sched_yield()
        @pytest.mark.resource_lock("db")
        class TestB:
            def test_3(self): os.sched_yield()
            def test_4(self): os.sched_yield()
        """
    stage.write(test_a=source, test_b=source.replace('"file"', '"other"'))
    run, log = logged(stage, f"--dist={mode}", f"--start-method={method}")
    times = 3 if mode == "each" else 1
    assert (run.exit, run.counts) == (0, {"passed": 8 * times})
    tests = len(log.nodeids)
    for one, other in log.overlapping():
        names = {log.nodeids[span.test % tests] for span in (one, other)}
        assert not any("test_2" in name for name in names), f"{names} overlap"
        assert len({name.partition("::")[0] for name in names}) == 2, f"{names} overlap"
        assert not all("TestB" in name for name in names), f"{names} overlap"


def test_who_reads_runs_beside_others_who_read(stage: Stage) -> None:
    stage.write(
        test_a="""
        pytestmark = pytest.mark.resource_lock("db", mode="read")
        def test_1(): hold("a")
        def test_2(): hold("b")
        """
    )
    running = stage.start(gates=("a", "b"))
    running.expect("holding a", "holding b")
    running.release("a")
    running.release("b")
    assert running.end().exit == 0


def test_of_a_counted_resource_as_many_are_taken_as_there_are(stage: Stage) -> None:
    (stage.path / "pytest.ini").write_text("[pytest]\nbraid_resources = db:2\n")
    stage.write(
        test_a="""
        @pytest.mark.resource_lock("db")
        def test_1(): hold("a")
        @pytest.mark.resource_lock("db")
        def test_2(): hold("b")
        @pytest.mark.resource_lock("db", slots=2)
        def test_3(): note("both")
        def test_4(): note("none")
        """
    )
    running = stage.start(gates=("a", "b"), workers=4)
    running.expect("holding a", "holding b", "none")
    running.release("a")
    running.release("b")
    run = running.end()
    assert (run.exit, run.notes[-1]) == (0, "both")


def test_more_than_there_is_means_all_of_it(stage: Stage) -> None:
    (stage.path / "pytest.ini").write_text("[pytest]\nbraid_resources = db:2\n")
    stage.write(
        test_a="""
        @pytest.mark.cpus(9)
        def test_1(): pass
        @pytest.mark.cpus(9)
        def test_2(): pass
        @pytest.mark.resource_lock("db", slots=5)
        def test_3(): pass
        @pytest.mark.resource_lock("net", slots=2)
        def test_4(): pass
        """
    )
    run, log = logged(stage, workers=2)
    assert (run.exit, run.counts) == (0, {"passed": 4})
    assert not any("test_1" in pair or "test_2" in pair for pair in log.names_overlapping())
    ini = "(the ini option braid_resources = {}:N says how many)"
    beyond = "is more than the {} that there are and counts as all"
    lines = [
        f"resource_lock('db', slots=5) {beyond.format(2)} {ini.format('db')}: test_a.py::test_3",
        f"resource_lock('net', slots=2) {beyond.format(1)} {ini.format('net')}: test_a.py::test_4",
    ]
    beyond = "is more than the 2 tests that may run at once and counts as all of them"
    for line in (*lines, f"cpus(9) {beyond}: test_a.py::test_1 and 1 more"):
        assert f"braid: {line}" in run.text.splitlines()


@pytest.mark.parametrize("args", [["-n2"], ["-n0"], []])
def test_the_marks_are_known(suite: Suite, args: list[str]) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.alone
        @pytest.mark.cpus(2)
        @pytest.mark.resource_lock("db")
        @pytest.mark.mp_group("g")
        def test_1(): pass
        """
    )
    assert suite.plain("-p", "braid", "--strict-markers", *args).exit == 0


@pytest.mark.parametrize(
    ("mark", "fault"),
    [
        ("resource_lock()", "_hold() missing 1 required positional argument: 'name'"),
        ("resource_lock(3)", "3 is no name"),
        ("resource_lock('db', 'shared')", "mode 'shared' is neither 'read' nor 'write'"),
        ("resource_lock('db', slots=0)", "slots 0 is not a whole number of 1 or more"),
        ("resource_lock('db', 'read', 2)", "slots are counted of tests that write, and mode is"),
    ],
)
def test_a_lock_that_makes_no_sense_is_a_usage_error(suite: Suite, mark: str, fault: str) -> None:
    suite.write(test_a=f"import pytest\n@pytest.mark.{mark}\ndef test_1(): pass")
    run = suite.plain("-p", "braid", "-n2")
    assert run.exit == 4
    assert f"test_a.py::test_1: its mark resource_lock is wrong: {fault}" in run.errors
    assert (
        'write @pytest.mark.resource_lock("db"), with mode="read" for tests that may run beside '
        "each other, or slots=2 for two of those that the ini option braid_resources counts"
    ) in run.errors


@pytest.mark.parametrize(("mark", "value"), [("cpus()", "None"), ("cpus('two')", "'two'")])
def test_cpus_are_a_number(suite: Suite, mark: str, value: str) -> None:
    suite.write(test_a=f"import pytest\n@pytest.mark.{mark}\ndef test_1(): pass")
    run = suite.plain("-p", "braid", "-n2")
    assert run.exit == 4
    assert (
        "test_a.py::test_1: its mark cpus does not say a whole number of 1 or more, but "
        f"{value}: write @pytest.mark.cpus(2)"
    ) in run.errors


@pytest.mark.parametrize("words", ["db", "db:0", "db:many", ":3"])
def test_resources_have_a_name_and_a_number(suite: Suite, words: str) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.ini(f"braid_resources = {words}")
    run = suite.plain("-p", "braid", "-n2")
    assert run.exit == 4
    assert (
        f"the ini option braid_resources: {words!r} is not a name and a number of 1 or more: write "
        "it as in 'db:4 gpu:1'"
    ) in run.errors


# --- a worker that waits ----------------------------------------------------------------------

WAITING = """
@pytest.fixture(scope="session", autouse=True)
def of_session(worker_id): note("up", worker_id); yield; note("down", worker_id)
@pytest.fixture(scope="class")
def of_class(): note("class up"); yield; note("class down")
"""


def test_a_worker_that_waits_keeps_its_session_fixtures(stage: Stage) -> None:
    stage.write(
        conftest=WAITING,
        test_a="""
        @pytest.mark.resource_lock("a")
        def test_1(): hold("a")
        @pytest.mark.resource_lock("a")
        @pytest.mark.resource_lock("b")
        def test_2(): note("two")
        @pytest.mark.resource_lock("b")
        def test_3(): note("three")
        @pytest.mark.resource_lock("b")
        def test_4(): note("four")
        """,
    )
    running = stage.start(gates=("a",))
    running.expect("holding a")
    running.release("a")
    run = running.end()
    assert (run.exit, run.counts) == (0, {"passed": 4})
    words = ("two", "three", "four")
    assert [line for line in run.notes if line in words] == list(words)
    for worker in ("gw0", "gw1"):
        assert run.notes.count(f"up {worker}") == run.notes.count(f"down {worker}") <= 1


def test_a_worker_that_waits_keeps_the_fixtures_of_its_next_test(stage: Stage) -> None:
    stage.write(
        conftest=WAITING,
        test_a="""
        @pytest.mark.resource_lock("db")
        def test_1(): hold("a")
        """,
        test_b="""
        @pytest.mark.usefixtures("of_class")
        class TestIt:
            def test_2(self): pass
            def test_3(self): note("waited for next")
            @pytest.mark.resource_lock("db")
            def test_4(self): pass
        """,
    )
    path = stage.base / "log.jsonl"
    running = stage.start("--dist=loadscope", f"--braid-log={path}", gates=("a",))
    running.expect("holding a", "waited for next")
    running.release("a")
    run = running.end()
    assert (run.exit, run.counts) == (0, {"passed": 4})
    assert [line for line in run.notes if "class" in line] == ["class up", "class down"]


def test_what_fails_in_the_end_of_kept_fixtures_is_an_error_of_the_last_test(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session")
        def fragile(): yield; assert 0, "no way down"
        """,
        test_a="""
        @pytest.mark.resource_lock("db")
        def test_1(): hold("a")
        @pytest.mark.resource_lock("other")
        def test_2(fragile): note("two")
        @pytest.mark.resource_lock("db")
        def test_3(): pass
        """,
    )
    running = stage.start(gates=("a",))
    running.expect("holding a", "two")
    running.release("a")
    run = running.end()
    assert (run.exit, run.counts) == (1, {"passed": 3, "errors": 1})
    assert "no way down" in run.report("ERROR at teardown of test_2")


# --- explained --------------------------------------------------------------------------------


EXPLAINED = """
@pytest.mark.resource_lock("db")
def test_1(): hold("a")
@pytest.mark.resource_lock("db")
def test_2(): pass
def test_3(): pass
"""


@pytest.mark.parametrize(
    ("option", "lines"),
    [
        (
            "--braid-explain=",
            [
                "test_a.py::test_2",
                r"  waited \d+.\d\d s",
                r"  \d+.\d\d s for resource 'db', because of test_a.py::test_1 \(\d+.\d\d s\)",
            ],
        ),
        (
            "--braid-explain=test_a.py::test_3",
            [
                "test_a.py::test_3",
                r"  ran in gw1, \d+.\d\d s after the run began, for \d+.\d\d s: passed",
                r"  setup \d+.\d\d s, call \d+.\d\d s, teardown \d+.\d\d s",
                r"  there because .+",
                "  waited for nothing but a worker",
            ],
        ),
        (
            "--braid-explain=test_b.py",
            ["no test that ran has a node id with 'test_b.py' in it"],
        ),
    ],
)
def test_what_a_test_waited_for_is_explained(stage: Stage, option: str, lines: list[str]) -> None:
    stage.write(test_a=EXPLAINED)
    running = stage.start(option, gates=("a",))
    running.expect("holding a")
    running.release("a")
    ended = running.end()
    told = ("what tests waited for", "how tests ran, and what they waited for")
    title = f"braid: {told[option != '--braid-explain=']}"
    found = ended.section(title).splitlines()
    assert len(found) == len(lines)
    assert all(re.fullmatch(line, text) for line, text in zip(lines, found, strict=True))


def test_where_nobody_waits_nothing_is_explained(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    run = stage.run("--braid-explain=")
    assert run.section("braid: what tests waited for") == (
        "no test has waited for anything but a worker\n"
    )


@pytest.mark.parametrize("args", [["-n0"], []])
def test_without_workers_there_is_nothing_to_explain(suite: Suite, args: list[str]) -> None:
    suite.write(test_a="def test_1(): pass")
    assert (
        "braid: nothing to explain: tests run one after another in this process and wait for "
        "nothing (-n N makes workers)"
    ) in suite.plain("-p", "braid", "--braid-explain=", *args).lines
