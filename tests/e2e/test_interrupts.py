"""Ctrl-C, SIGTERM and SIGKILL in each phase: what is told and torn down, and that all ends."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from textwrap import dedent

import pytest

from tests.e2e.running import BOUND, UP_AND_DOWN, Ended, Running, Stage

FIXTURES = f"""{UP_AND_DOWN}
    def pytest_unconfigure(config):
        if hasattr(config, "workerinput"): note("unconfigured zygote")
"""


def require_torn_down(ended: Ended) -> None:
    fixtures = Counter(line for line in ended.notes if line.startswith(("up", "down")))
    for scope in ("session", "module", "test"):
        assert fixtures[f"up {scope}"] == fixtures[f"down {scope}"] > 0, ended.notes
    assert "unconfigured zygote" in ended.notes


WAITS = """
@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    if not hasattr(session.config, "workerinput"): note("the controller waits")
    return (yield)
"""
"""Before that the controller prints its header, and Ctrl-C ends it like a serial run: as it can."""

SECOND_HOLDS = """
    begun = []
    @pytest.mark.parametrize("n", range(24))
    def test_n(n):
        begun.append(n)
        worker = os.environ["PYTEST_XDIST_WORKER"]
        if len(begun) == 2:
            note("second", worker, n)
            HOLD
        note("ran", n)
"""
"""Each worker passes its first test, holds in its second, and has more in its queue."""


def holding_in_two_workers(stage: Stage, hold: str = "hold(worker)") -> Running:
    stage.write(conftest=FIXTURES, test_a=SECOND_HOLDS.replace("HOLD", hold))
    run = stage.prepare()
    run.gate("gw0", "gw1")
    return run


def require_both_named(run: Running, ended: Ended) -> None:
    told = ended.section("Interrupted while running")
    assert sorted(re.sub(r"\d+\.\d\d s", "... s", line) for line in told.splitlines()) == sorted(
        f"{worker}: test_a.py::test_n[{n}] (after ... s)"
        for worker, n in map(str.split, run.noted("second"))
    )
    assert len(told.splitlines()) == 2


SENDERS: dict[str, Callable[[Running], None]] = {
    "controller": lambda run: run.send(signal.SIGINT),
    "process group": lambda run: run.send_to_group(signal.SIGINT),
    "terminal": lambda run: run.press(b"\x03"),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_ctrl_c_names_the_running_tests_and_tears_down(stage: Stage, sender: str) -> None:
    run = holding_in_two_workers(stage).start(terminal=sender == "terminal")
    run.expect("holding gw0", "holding gw1")
    SENDERS[sender](run)
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 2})
    assert len(ended.ran) == 2
    require_torn_down(ended)
    require_both_named(run, ended)
    assert "!!! KeyboardInterrupt !!!" in ended.text
    assert re.search(r"e2e_notes\.py:\d+: KeyboardInterrupt", ended.text)


def test_ctrl_c_shows_the_failures_so_far(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_fails(): assert "this" == "that"
        def test_holds(): hold("a")
        """
    )
    run = stage.start(gates=("a",), workers=1)
    run.expect("holding a")
    run.send(signal.SIGINT)
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"failed": 1})
    assert 'assert "this" == "that"' in ended.report("test_fails")


def test_ctrl_c_while_a_module_is_imported(stage: Stage) -> None:
    stage.write(conftest=dedent(FIXTURES) + WAITS, test_a="hold('import')\ndef test_a(): pass")
    run = stage.start(gates=("import",))
    run.expect("holding import", "the controller waits")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "!!! KeyboardInterrupt !!!" in ended.text
    assert "unconfigured zygote" in ended.notes
    assert "no tests ran" in ended.text


def test_ctrl_c_while_a_conftest_configures(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_configure(config):
            if hasattr(config, "workerinput"): hold("configure")
        """,
        test_a="def test_a(): pass",
    )
    run = stage.start(gates=("configure",))
    run.expect("holding configure")
    run.send(signal.SIGINT)
    assert run.end().exit == pytest.ExitCode.INTERRUPTED


def test_ctrl_c_in_a_fixture_s_teardown_leaves_the_others_theirs(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session", autouse=True)
        def of_session():
            yield
            note("down session")
        @pytest.fixture(scope="module", autouse=True)
        def of_module():
            yield
            hold("down")
        """,
        test_a="def test_a(): note('ran a')",
    )
    run = stage.start(gates=("down",), workers=1)
    run.expect("holding down")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "down session" in ended.notes
    assert "gw0: test_a.py::test_a (after" in ended.section("Interrupted while running")


def test_ctrl_c_once_does_not_interrupt_the_teardown_that_it_causes(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture
        def slow():
            yield
            hold("down")
            note("down")
        def test_a(slow): hold("a")
        """
    )
    run = stage.start(gates=("a", "down"), workers=1)
    run.expect("holding a")
    run.send(signal.SIGINT)
    run.expect("holding down")
    run.release("down")
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "down" in ended.notes


def test_ctrl_c_while_workers_end_their_sessions(stage: Stage) -> None:
    """Every test has its outcome by then: nothing is cut short, and nothing is interrupted."""
    stage.write(
        conftest="""
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"):
                hold("finish")
                note("finished")
        """,
        test_a="def test_a(): pass",
    )
    run = stage.start(gates=("finish",))
    run.expect("holding finish")
    run.send(signal.SIGINT)
    run.release("finish")
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 1})
    assert "finished" in ended.notes
    assert not ended.section("Interrupted while running")


def test_ctrl_c_reaches_a_worker_that_is_being_born(stage: Stage) -> None:
    """A signal that came before it has set itself up is not lost: it ends as the others do."""
    stage.write(
        conftest="""
        def after():
            note("born")
            hold("birth")
        def pytest_collection_finish(): os.register_at_fork(after_in_child=after)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(10))
        def test_a(n): note("ran", n)
        """,
    )
    run = stage.start(gates=("birth",), workers=1)
    run.expect("holding birth")
    run.send(signal.SIGINT)
    run.release("birth")
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "no tests ran" in ended.text or len(ended.ran) < 10


def test_ctrl_c_twice_ends_at_once_what_does_not_heed_the_first(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_stubborn():
            try: hold("a")
            except KeyboardInterrupt: note("heard")
            hold("a")
        """
    )
    run = stage.start(gates=("a",), workers=1)
    run.expect("holding a")
    run.send(signal.SIGINT)
    run.expect("heard", "holding a")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "gw0: test_a.py::test_stubborn" in ended.section("Interrupted while running")


def test_ctrl_c_twice_ends_a_teardown(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture
        def slow():
            yield
            hold("down")
        def test_a(slow): hold("a")
        """
    )
    run = stage.start(gates=("a", "down"))
    run.expect("holding a")
    run.send(signal.SIGINT)
    run.expect("holding down")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert ended.section("Interrupted while running").count("::test_a") == 1


def test_two_signals_at_once_name_the_test_that_runs(stage: Stage) -> None:
    """Both are there before the controller, stopped meanwhile, has heard which one that is."""
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(24))
        def test_a(n): hold(str(n))
        """
    )
    run = stage.start(gates=("0", "1"), workers=1)
    run.expect("holding 0")
    run.send(signal.SIGSTOP)
    os.waitid(os.P_PID, run.process.pid, os.WSTOPPED | os.WNOWAIT)
    run.release("0")
    run.expect("holding 1")
    run.send(signal.SIGINT)
    run.send(signal.SIGTERM)
    run.send(signal.SIGCONT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    told = ended.section("Interrupted while running")
    assert re.fullmatch(r"gw0: test_a\.py::test_a\[1\] \(after \d+\.\d\d s\)\n", told), ended.text


def test_a_keyboard_interrupt_of_a_test_names_it(stage: Stage) -> None:
    stage.write(test_a="def test_a(): pass\ndef test_b(): raise KeyboardInterrupt")
    ended = stage.run(workers=1)
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 1})
    assert ended.section("Interrupted while running").startswith("gw0: test_a.py::test_b (after")


def test_ctrl_c_twice_ends_a_spawned_worker_that_has_no_test_yet(stage: Stage) -> None:
    stage.write(
        test_a="""
        worker = os.environ["PYTEST_XDIST_WORKER"]
        def stay(gate):
            try: hold(gate)
            except KeyboardInterrupt: note("heard", gate)
            hold(gate)
        if worker == "gw1": stay("gw1")
        def test_a(): stay("gw0")
        """
    )
    run = stage.start("--start-method=spawn", gates=("gw0", "gw1"))
    run.expect("holding gw0", "holding gw1")
    run.send(signal.SIGINT)
    run.expect("heard gw0", "holding gw0")
    run.send(signal.SIGINT)
    assert run.end().exit == pytest.ExitCode.INTERRUPTED


def test_ctrl_c_twice_ends_a_collection_that_does_not_heed_the_first(stage: Stage) -> None:
    stage.write(
        test_a="""
        try: hold("a")
        except KeyboardInterrupt: note("heard")
        hold("a")
        """
    )
    run = stage.start(gates=("a",))
    run.expect("holding a")
    run.send(signal.SIGINT)
    run.expect("heard", "holding a")
    run.send(signal.SIGINT)
    assert run.await_end() != 0
    run.require_gone()


def test_a_test_that_catches_ctrl_c_ends_as_it_likes_and_no_other_begins(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_catches():
            with pytest.raises(KeyboardInterrupt): hold("a")
            note("ran it")
        @pytest.mark.parametrize("n", range(20))
        def test_next(n): note("ran", n)
        """
    )
    run = stage.start(gates=("a",), workers=1)
    run.expect("holding a")
    run.send(signal.SIGINT)
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 1})
    assert ended.ran == Counter(["it"])
    assert not ended.section("Interrupted while running")


@pytest.mark.parametrize("handler", ["signal.SIG_IGN", "lambda *_: note('handled')"])
def test_a_test_with_its_own_handler_ends_and_no_other_begins(stage: Stage, handler: str) -> None:
    """The other worker has the usual handler: when it has ended, the first has been told too."""
    deaf = f"if worker == 'gw0': signal.signal(signal.SIGINT, {handler})\n            hold(worker)"
    run = holding_in_two_workers(stage, deaf)
    with (stage.path / "conftest.py").open("a") as conftest:
        conftest.write("def pytest_testnodedown(node, error): note('gone', node.gateway.id)\n")
    run.start()
    run.expect("holding gw0", "holding gw1")
    run.send(signal.SIGINT)
    run.expect("gone gw1", *(["handled"] if "note" in handler else []))
    run.release("gw0")
    ended = run.end()
    assert (ended.exit, ended.counts) == (pytest.ExitCode.INTERRUPTED, {"passed": 3})
    assert len(ended.ran) == 3
    require_torn_down(ended)


def test_a_test_that_lets_ctrl_c_kill_the_process_is_cut_short(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_default():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            hold("a")
        def test_next(): note("ran")
        """
    )
    run = stage.start(gates=("a",), workers=1)
    run.expect("holding a")
    run.send(signal.SIGINT)
    ended = run.end()
    assert ended.exit == pytest.ExitCode.INTERRUPTED
    assert "gw0: test_a.py::test_default" in ended.section("Interrupted while running")
    assert "failed" not in ended.counts
    assert not ended.ran


def test_tests_that_another_s_exit_cuts_short_are_named(stage: Stage) -> None:
    stage.write(
        conftest=FIXTURES,
        test_a="""
        def test_exits():
            hold("a")
            pytest.exit("enough", 7)
        """,
        test_b="def test_holds(): hold('b')",
    )
    run = stage.start(gates=("a", "b"))
    run.expect("holding a", "holding b")
    run.release("a")
    ended = run.end()
    assert ended.exit == 7
    assert "Exit: enough" in ended.text
    require_torn_down(ended)


# --- SIGTERM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ignored", [(), (signal.SIGINT,)], ids=["", "Ctrl-C ignored"])
def test_sigterm_tears_down_and_reports_what_there_is(
    stage: Stage, ignored: tuple[signal.Signals, ...]
) -> None:
    """Also where Ctrl-C is ignored, as in what a shell starts behind itself, or ``nohup``."""
    run = holding_in_two_workers(stage).start(ignore=ignored)
    run.expect("holding gw0", "holding gw1")
    run.send(signal.SIGTERM)
    ended = run.end()
    assert (ended.exit, ended.counts) == (128 + signal.SIGTERM, {"passed": 2})
    assert len(ended.ran) == 2
    require_torn_down(ended)
    require_both_named(run, ended)
    assert "received SIGTERM" in ended.text


def test_sigterm_twice_ends_at_once(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.fixture
        def slow():
            yield
            hold("down")
        def test_a(slow): hold("a")
        """
    )
    run = stage.start(gates=("a", "down"))
    run.expect("holding a")
    run.send(signal.SIGTERM)
    run.expect("holding down")
    run.send(signal.SIGTERM)
    assert run.end().exit == 128 + signal.SIGTERM


@pytest.mark.parametrize("phase", ["configure", "import", "unconfigure"])
def test_sigterm_outside_of_the_tests_leaves_nothing(stage: Stage, phase: str) -> None:
    run = holding_in_phase(stage, phase)
    run.send(signal.SIGTERM)
    assert run.await_end() == -signal.SIGTERM
    run.require_gone()


# --- SIGKILL --------------------------------------------------------------------------------------

PHASES = {
    "configure": """
        def pytest_configure(config):
            if hasattr(config, "workerinput"): hold("phase")
    """,
    "import": "",
    "modifyitems": "def pytest_collection_modifyitems(): hold('phase')",
    "setup": """
        @pytest.fixture(scope="session", autouse=True)
        def fixture(): hold("phase")
    """,
    "test": "",
    "deaf test": "",
    "busy test": "",
    "teardown": """
        @pytest.fixture(scope="session", autouse=True)
        def fixture():
            yield
            hold("phase")
    """,
    "sessionfinish": """
        def pytest_sessionfinish(session):
            if hasattr(session.config, "workerinput"): hold("phase")
    """,
    "unconfigure": """
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"): hold("phase")
            else: note("the controller too")
    """,
}

IN_TEST = {
    "test": "hold('phase')",
    "deaf test": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG)); hold('phase')",
    "busy test": "note('holding phase'); sum(range(10**15))",  # no bytecode runs any more
}


def holding_in_phase(stage: Stage, phase: str, *args: str) -> Running:
    imported = "hold('phase')\n" if phase == "import" else ""
    stage.write(
        conftest=dedent(PHASES[phase]) + WAITS,
        test_a=f"{imported}def test_a(): {IN_TEST.get(phase, 'pass')}\n",
        test_b="def test_b(): pass",
    )
    run = stage.start(*args, gates=("phase",))
    too = ["the controller too"] if in_zygote(phase, *args) else []
    run.expect("holding phase", "the controller waits", *too)
    return run


def in_zygote(phase: str, *args: str) -> bool:
    """Whether all is over, and the controller waits for the zygote alone."""
    return phase == "unconfigure" and SPAWN not in args


FORK, SPAWN = "--start-method=fork", "--start-method=spawn"

DEAF = {*itertools.product(("deaf test", "busy test", "sessionfinish"), (FORK, SPAWN))}
DEAF.add(("unconfigure", SPAWN))
"""Where one signal does not end the run: a worker that ends is not interrupted any more."""

CUTS = {"setup", "test", "teardown"}


@pytest.mark.parametrize("start", [FORK, SPAWN])
@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_ends_the_run_in_each_phase(stage: Stage, phase: str, start: str) -> None:
    """Once, or, where that is not heeded, with a second signal, which does not merge with the
    first: it is another one. A second worker could come to the phase when it has been signalled."""
    run = holding_in_phase(stage, phase, start, "-n1")
    run.send(signal.SIGINT)
    if (phase, start) in DEAF:
        run.send(signal.SIGTERM)
    ended = run.end()
    is_over = in_zygote(phase, start)  # then it is as in a serial run that unconfigures itself
    expected = -signal.SIGINT if is_over else pytest.ExitCode.INTERRUPTED
    assert ended.exit == expected, ended.text + ended.errors
    assert "KeyboardInterrupt" in (ended.errors if is_over else ended.text)
    assert "INTERNALERROR" not in ended.text
    if phase in CUTS:
        assert "::test_" in ended.section("Interrupted while running")


@pytest.mark.parametrize("phase", PHASES)
def test_nothing_survives_a_killed_controller(stage: Stage, phase: str) -> None:
    run = holding_in_phase(stage, phase)
    assert len(run.processes()) >= 2
    run.send(signal.SIGKILL)
    run.await_end()
    run.require_gone()


def test_nothing_survives_a_controller_killed_at_any_moment(stage: Stage) -> None:
    """Whenever a process of the run tells of its birth, from the zygote to the last successor."""
    stage.write(
        conftest="os.register_at_fork(after_in_child=lambda: note('born'))",
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_a(n): os._exit(1)
        """,
    )
    for births in range(1, 7):
        run = stage.start()
        run.expect(*["born"] * births)
        run.send(signal.SIGKILL)
        run.await_end()
        run.require_gone()


# --- a closed output ------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [FORK, SPAWN])
def test_a_closed_output_ends_the_run_and_leaves_nothing(stage: Stage, start: str) -> None:
    """As ``pytest | head -1``."""
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(2000))
        def test_a(n): pass
        """
    )
    reading, writing = os.pipe()
    run = stage.prepare("-v", start).start(stdout=writing)
    os.close(writing)
    with subprocess.Popen(["head", "-1"], stdin=reading, stdout=subprocess.PIPE) as head:
        os.close(reading)
        assert b"test session starts" in head.communicate(timeout=BOUND)[0]
    assert run.await_end() != 0
    run.require_gone()
