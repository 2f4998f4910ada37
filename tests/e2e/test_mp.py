"""``--mp``: what users of pytest-mp find here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import Suite
from tests.timeline import Timeline

SEED = Path(__file__).parents[1] / "seeds" / "pytest-mp.txt"
"""The description of pytest-mp 0.0.4, whose README it is, as its package has it."""


def readme() -> str:
    """It is indented by eight blanks there."""
    lines = SEED.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix(" " * 8) for line in lines)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)


GROUPS, BY_LOCK, BY_TRAIL = blocks("python")

COMMANDS = [line.split("  #")[0] for line in blocks("bash")[0].splitlines() if "pytest --m" in line]

FIXTURES = """
@pytest.fixture(scope="session")
def fixture_one(): note("up one")
@pytest.fixture(scope="session")
def fixture_two(): note("up two")
@pytest.fixture(scope="session")
def fixture_three():
    note("up three"); yield; note("down three")
@pytest.fixture(autouse=True)
def where(request): note("in", request.node.name, os.getpid())
"""

RESOURCE = """
class Resource:
    def destructive_call(self): note("set up"); return "made"
    def get_current_state(self): note("looked"); return "there"
    def cleanup(self): note("cleaned up")
@pytest.fixture(scope="session")
def some_resource(): return Resource()
"""


def of_mp(stage: Stage, *args: str) -> tuple[Ended, Timeline]:
    log = stage.base / "log.jsonl"
    run = stage.run(*args, f"--braid-log={log}", workers=None)
    return run, Timeline(log)


def pids(run: Ended) -> dict[str, str]:
    lines = (line.split() for line in run.notes if line.startswith("in "))
    return {name: pid for _, name, pid in lines}


# --- the README -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readmes_groups_run_with_the_readmes_commands(stage: Stage, command: str) -> None:
    stage.write(conftest=FIXTURES)
    (stage.path / "test_readme.py").write_text(GROUPS, encoding="utf-8")
    run, log = of_mp(stage, *command.split()[1:])
    assert (run.exit, run.counts) == (0, {"passed": 5})
    where = pids(run)
    assert where["test_four"] == where["test_five"]
    assert len({where["test_one"], where["test_two"], where["test_three"], where["test_four"]}) == 4
    for pair in log.names_overlapping():
        assert not pair & {"test_four", "test_five"}, "they run with nobody beside them"
    assert [run.notes.count(f"up {n}") for n in ("one", "two", "three")] == [1, 1, 1]


def test_the_readme_has_three_commands() -> None:
    assert COMMANDS == [
        "pytest --mp",
        "pytest --mp --np 4",
        "pytest --multiprocessing --num-processes 4",
    ]


HARNESS = """
from pathlib import Path
exec(compile(Path("readme.py").read_text(), "readme.py", "exec"))
"""
"""What runs a block as it stands, and has imported what it takes for granted."""


def give_fixtures(stage: Stage, source: str) -> None:
    (stage.path / "readme.py").write_text(source, encoding="utf-8")
    stage.write(fixtures_of_readme=HARNESS)


USERS = """
@pytest.mark.parametrize("n", range(4))
def test_it(n, must_be_idempotent_with_teardown): note("ran", must_be_idempotent_with_teardown)
"""


@pytest.mark.parametrize("options", [["--mp", "--np=3"], ["-n3"], ["-n0"]])
@pytest.mark.parametrize("source", [BY_LOCK, BY_TRAIL], ids=["lock", "trail"])
def test_the_readmes_fixtures_set_up_and_clean_up_as_it_says(
    stage: Stage, source: str, options: list[str]
) -> None:
    stage.write(conftest=RESOURCE, test_users=USERS)
    give_fixtures(stage, source)
    run = stage.run(*options, "-p", "fixtures_of_readme", workers=None)
    assert (run.exit, run.counts) == (0, {"passed": 4})
    ups, downs = run.notes.count("set up"), run.notes.count("cleaned up")
    if source is BY_LOCK:
        assert (ups, downs) == (1, 1)
        assert run.ran == {"made": 4}
    else:  # a trail counts those who are on it: where all have left, it begins anew
        assert ups == downs >= 1
        assert run.ran.total() == 4
        assert run.ran["made"] >= ups


def test_the_readmes_fixture_without_teardown_calls_once(stage: Stage) -> None:
    stage.write(
        conftest=RESOURCE,
        test_users="""
        @pytest.mark.parametrize("n", range(4))
        def test_it(n, must_be_idempotent_without_teardown): pass
        """,
    )
    give_fixtures(stage, BY_LOCK)
    run = stage.run("--mp", "--np=3", "-p", "fixtures_of_readme", workers=None)
    assert (run.exit, run.notes) == (0, ["set up"])


# --- strategies -------------------------------------------------------------------------------

MEETING = """
@pytest.fixture(scope="session", autouse=True)
def of_session(): note("up"); yield; note("down")
@pytest.fixture(autouse=True)
def where(request): note("in", request.node.name, os.getpid())
"""

STRATEGIES = """
def members(group, strategy, count):
    for n in range(count):
        def test(mp_lock, mp_message_board, mp_num_processes):
            if mp_num_processes == 1 or strategy.endswith("serial"): return
            with mp_lock: mp_message_board[group] = mp_message_board.get(group, 0) + 1
            while mp_message_board[group] < 2: pass  # until another one of the group is there
        test.__name__ = f"test_{group}_{n}"
        yield test.__name__, pytest.mark.mp_group(group, strategy)(test)
for group, strategy in (("f", "free"), ("s", "serial"), ("jf", "isolated_free"),
                        ("js", "isolated_serial"), ("kf", "isolated_free")):
    globals().update(members(group, strategy, 4))
def test_alone_in_the_world(): pass
"""


@pytest.mark.parametrize("processes", [1, 3])
def test_the_four_strategies(stage: Stage, processes: int) -> None:
    stage.write(conftest=MEETING, test_a=STRATEGIES)
    run, log = of_mp(stage, "--mp", f"--np={processes}")
    assert (run.exit, run.counts) == (0, {"passed": 21})
    where = {group: log.workers_of(*(f"test_{group}_{n}" for n in range(4))) for group in GROUPED}
    assert [len({*where[group]}) for group in GROUPED] == [4, 1, 4, 1, 4]
    processes_of = [span.worker for span in log.spans]
    assert len({*processes_of}) == 15, "no two groups share a process"
    assert run.notes.count("up") == run.notes.count("down") == 15, "each has fixtures of its own"
    for group in ("s", "js"):
        names = [span.name for span in log.spans if span.name.startswith(f"test_{group}_")]
        assert names == [f"test_{group}_{n}" for n in range(4)]
    for pair in log.names_overlapping():
        groups = {name.split("_")[1] for name in pair}
        assert len(groups) == 1 or groups <= {"f", "s", "alone"}, f"{pair} overlap"
    if processes == 3:
        together = {name.split("_")[1] for pair in log.names_overlapping() for name in pair}
        assert together >= {"f", "jf", "kf"}, "these may run beside their own"


GROUPED = ("f", "s", "jf", "js", "kf")


def test_an_isolated_group_is_one_piece_of_the_run(stage: Stage) -> None:
    stage.write(conftest=MEETING, test_a=STRATEGIES)
    _, log = of_mp(stage, "--mp", "--np=2")
    groups = [span.name.split("_")[1] for span in log.spans]
    for group in ("jf", "js", "kf"):
        first = groups.index(group)
        assert groups[first : first + 4] == [group] * 4


@pytest.mark.parametrize("strategy", ["free", "serial", "isolated_free", "isolated_serial"])
@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("up", {"passed": 1, "errors": 1}),
        ("down", {"passed": 2, "errors": 1}),
        ("death", {"passed": 1, "failed": 1}),
    ],
)
def test_what_goes_wrong_is_told(
    stage: Stage, strategy: str, fault: str, counts: dict[str, int]
) -> None:
    stage.write(
        test_a=f"""
        pytestmark = pytest.mark.mp_group("g", "{strategy}")
        @pytest.fixture
        def fault():
            assert "{fault}" != "up"
            yield
            assert "{fault}" != "down"
        def test_1(fault):
            if "{fault}" == "death": os.kill(os.getpid(), signal.SIGKILL)
        def test_2(): pass
        """
    )
    run = stage.run("--mp", "--np=2", workers=None)
    assert (run.exit, run.counts) == (1, counts)


@pytest.mark.parametrize("strategy", ["free", "serial", "isolated_free", "isolated_serial"])
def test_x_stops(stage: Stage, strategy: str) -> None:
    stage.write(
        test_a=f"""
        pytestmark = pytest.mark.mp_group("g", "{strategy}")
        @pytest.mark.parametrize("n", range(6))
        def test_n(n): note("ran", n); assert 0
        """
    )
    run = stage.run("--mp", "--np=1", "-x", workers=None)
    assert (run.exit, run.counts, run.ran.total()) == (1, {"failed": 1}, 1)


# --- misuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--mp"], ["-n2"], ["-n0"], []])
def test_two_groups_are_a_usage_error(suite: Suite, options: list[str]) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.mp_group("a")
        class TestIt:
            @pytest.mark.mp_group("b")
            def test_1(self): pass
        """
    )
    run = suite.plain("-p", "braid", *options)
    assert run.exit == 4
    text = (
        "Detected too many mp_group values for test_1: test_a.py::TestIt::test_1 has 2 of these "
        "marks, its class's and module's included. One test is in one group."
    )
    assert text in run.errors


@pytest.mark.parametrize("options", [["--mp"], ["-n2"], []])
def test_two_strategies_of_a_group_are_a_usage_error(suite: Suite, options: list[str]) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.mp_group("a", "serial")
        def test_1(): pass
        @pytest.mark.mp_group("a", strategy="free")
        def test_2(): pass
        """
    )
    run = suite.plain("-p", "braid", *options)
    assert run.exit == 4
    assert (
        "a already has specified strategy serial. A test of the group came first that says so, or "
        "says none; test_a.py::test_2 says 'free'."
    ) in run.errors


def test_an_unknown_strategy_is_a_usage_error_before_anything_runs(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1(): note("ran 1")
        @pytest.mark.mp_group("a", "fast")
        def test_2(): pass
        """
    )
    run = stage.run("--mp", workers=None)
    assert (run.exit, run.notes) == (4, [])
    assert (
        "Unknown strategy fast (of mp_group 'a', test_a.py::test_2): give one of free, serial, "
        "isolated_free, isolated_serial"
    ) in run.errors


def test_a_group_must_have_a_name(suite: Suite) -> None:
    suite.write(test_a="import pytest\n@pytest.mark.mp_group()\ndef test_1(): pass")
    run = suite.plain("-p", "braid", "--mp")
    assert run.exit == 4
    assert (
        "test_a.py::test_1: its mark mp_group names no group: write @pytest.mark.mp_group('name')"
    ) in run.errors


@pytest.mark.parametrize(
    ("options", "name"),
    [(["-n2"], "-n"), (["--dist=load"], "--dist"), (["-d"], "--dist"), (["--tx=popen"], "--tx")],
)
def test_mp_decides_alone(suite: Suite, options: list[str], name: str) -> None:
    suite.write(test_a="def test_1(): pass")
    run = suite.plain("-p", "braid", "--mp", *options)
    assert run.exit == 4
    assert (
        f"--mp (or the ini option mp) cannot be combined with {name}: it decides itself which test "
        "runs in which process. --np says how many processes there are at a time; without --mp, "
        "groups keep tests together with -n and --dist loadgroup"
    ) in run.errors


@pytest.mark.parametrize("option", ["--np", "--num-processes"])
def test_the_number_of_processes_is_a_number(suite: Suite, option: str) -> None:
    suite.write(test_a="def test_1(): pass")
    run = suite.plain("-p", "braid", "--mp", option, "many")
    assert run.exit == 4
    assert "--num-processes must be an integer." in run.errors


def test_so_it_is_in_the_ini_file(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.ini("mp = true\nnum_processes = many")
    run = suite.plain("-p", "braid")
    assert run.exit == 4
    assert (
        "--num-processes must be an integer. The ini option num_processes says 'many': give a "
        "number, 0 to run everything in this process, or leave it out for one per CPU"
    ) in run.errors


# --- switches ---------------------------------------------------------------------------------

SWITCHES = """
def test_it(mp_use_mp, mp_num_processes, worker_id, request):
    info = request.node.get_closest_marker("mp_group_info")
    note("has", mp_use_mp, mp_num_processes, worker_id, info and sorted(info.kwargs.items()))
"""


@pytest.mark.parametrize(
    ("ini", "options", "told"),
    [
        ("", ["--mp", "--np=2"], "True 2 gw0"),
        ("mp = true\nnum_processes = 3", [], "True 3 gw0"),
        ("mp = true\nnum_processes = 3", ["--np", "2"], "True 2 gw0"),
        ("", ["--mp", "--np=0"], "True 0 master"),
        ("num_processes = 3", ["--np=2"], "False 0 master"),
        ("", [], "False 0 master"),
        ("", ["-n2"], "False 0 gw0"),
    ],
)
def test_the_switches(stage: Stage, ini: str, options: list[str], told: str) -> None:
    stage.write(test_a=SWITCHES)
    (stage.path / "pytest.ini").write_text(f"[pytest]\n{ini}\n", encoding="utf-8")
    run = stage.run(*options, workers=None)
    group = "[('group', 'ungrouped'), ('strategy', 'free')]" if "True" in told else None
    assert (run.exit, run.notes) == (0, [f"has {told} {group}"])


@pytest.mark.parametrize("options", [["--mp"], ["-n2"], []])
def test_the_group_is_told_with_and_without_mp(stage: Stage, options: list[str]) -> None:
    stage.write(
        test_a="""
        @pytest.mark.mp_group("a", strategy="serial")
        def test_1(): pass
        @pytest.mark.mp_group(group="a")
        def test_2(request):
            assert request.node.get_closest_marker("mp_group_info").kwargs == {
                "group": "a", "strategy": "serial"
            }
        """
    )
    assert stage.run(*options, workers=None).exit == 0


def test_the_strategy_of_a_deselected_test_counts(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.mp_group("a", strategy="serial")
        def test_1(): pass
        @pytest.mark.mp_group(group="a")
        def test_2(request):
            assert request.node.get_closest_marker("mp_group_info").kwargs["strategy"] == "serial"
        """
    )
    assert stage.run("--mp", "-k", "test_2", workers=None).counts == {"passed": 1, "deselected": 1}


def test_without_mp_groups_stay_together_with_loadgroup(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture(autouse=True)
        def where(): note("in", os.getpid())
        @pytest.mark.mp_group("a", "free")
        @pytest.mark.parametrize("n", range(8))
        def test_n(n): pass
        """
    )
    assert len({*stage.run("--dist=loadgroup", workers=3).notes}) == 1


def test_the_header_says_what_started(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.ini("mp = true")
    run = suite.plain("-p", "braid", "--np=2")
    assert (
        "braid: --mp: tests or groups of them in processes of their own, 2 at a time" in run.lines
    )
