"""Fixtures of pytest-shared-session-scope: one ``FIRST`` and one ``LAST``, however a run ends."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import INSIDE

CONFTEST = """
from pytest_shared_session_scope import CleanupToken, SetupToken, shared_session_scope_json
@shared_session_scope_json()
def shared(worker_id):
    data = yield
    note("enter", "first" if data is SetupToken.FIRST else data)
    if data is SetupToken.FIRST:
        data = {"pair": (1, 2)}
    token = yield data
    note("leave", token)
"""

FIVE = """
@pytest.mark.parametrize("n", range(5))
def test_it(n, shared):
    note("ran", n)
"""

every_run = pytest.mark.parametrize(
    "options",
    [
        ["-n1"],
        ["-n2"],
        ["-n2", "--threads=2"],
        ["-n2", "--start-method=spawn"],
        ["-n2", "--forked"],
        ["-n2", "--max-tests-per-worker=2"],
        ["-n2", "--dist=each"],
        ["--mp", "--np=2"],
    ],
    ids=["one", "two", "threads", "spawned", "forked", "recycled", "each", "mp"],
)


def firsts(run: Ended) -> int:
    return run.notes.count("enter first")


def lasts(run: Ended) -> int:
    return run.notes.count("leave CleanupToken.LAST")


def is_whole(run: Ended) -> bool:
    """One first, one last, which is the end of it; and who has entered has left."""
    moves = [line.split()[0] for line in run.notes if line.startswith(("enter", "leave"))]
    return (
        firsts(run) == lasts(run) == 1
        and moves.count("enter") == moves.count("leave")
        and [line for line in run.notes if not line.startswith("ran")][-1].endswith("LAST")
    )


@every_run
def test_one_is_first_and_one_is_last(stage: Stage, options: list[str]) -> None:
    stage.write(conftest=CONFTEST, test_a=FIVE)
    run = stage.run(*options, workers=None)
    assert (run.exit, is_whole(run)) == (0, True), run.text + "\n".join(run.notes)
    assert run.ran.keys() == {*"01234"}


@pytest.mark.parametrize("options", [[], ["-n0"], ["-n0", "--threads=2"]])
def test_without_workers_the_one_process_is_both(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a="""
        def test_1(shared): assert shared == {"pair": (1, 2)}, "as it was made"
        def test_2(shared): pass
        """,
    )
    run = stage.run(*options, workers=None)
    assert (run.exit, run.notes) == (0, ["enter first", "leave CleanupToken.LAST"])


def test_all_workers_see_the_value_as_it_was_stored(stage: Stage) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_it(n, shared): assert shared == {"pair": [1, 2]}
        """,
    )
    run = stage.run()
    assert (run.exit, run.counts) == (0, {"passed": 6})


@every_run
def test_what_is_returned_is_made_once(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        from pytest_shared_session_scope import shared_session_scope_pickle
        @shared_session_scope_pickle(parse=lambda value: ("parsed", value), name="shared")
        def of_another_name():
            note("made")
            return {1: (2, 3)}
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(5))
        def test_it(n, shared): assert shared == ("parsed", {1: (2, 3)})
        """,
    )
    run = stage.run(*options, workers=None)
    assert (run.exit, run.notes) == (0, ["made"])


@every_run
def test_a_fixture_may_have_another_name_than_its_function(
    stage: Stage, options: list[str]
) -> None:
    conftest = CONFTEST.replace("_json()", "_json(name='shared')").replace("def shared", "def _own")
    stage.write(conftest=conftest, test_a=FIVE)
    run = stage.run(*options, workers=None)
    assert (run.exit, is_whole(run)) == (0, True), run.text


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--threads=2"], ["-n2", "--forked"]])
def test_tests_that_ask_for_it_by_name_count(stage: Stage, options: list[str]) -> None:
    """The first worker is through with its tests before the second one asks."""
    stage.write(
        conftest=CONFTEST,
        test_a="""
        def test_1(shared): pass
        """,
        test_b="""
        def test_2(request):
            hold("a")
            request.getfixturevalue("shared")
        """,
    )
    running = stage.prepare(*options, workers=None)
    running.gate("a")
    running.start()
    running.expect("holding a", "enter first", "leave None")
    running.release("a")
    run = running.end()
    assert (run.exit, is_whole(run)) == (0, True), "\n".join(run.notes)


@pytest.mark.parametrize("options", [["-n1"], ["-n2"], ["-n2", "--threads=2"], ["--mp", "--np=2"]])
def test_each_parameter_has_a_value_and_an_end(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        from pytest_shared_session_scope import CleanupToken, SetupToken, shared_session_scope_json
        @shared_session_scope_json(params=["a", pytest.param("b", id="bee")])
        def shared(request):
            data = yield
            if data is SetupToken.FIRST:
                note("first", request.param)
                data = request.param
            assert data == request.param
            token = yield data
            if token is CleanupToken.LAST: note("last", request.param)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_it(n, shared): note("ran", shared)
        @pytest.mark.parametrize("shared", ["c", "d"], indirect=True)
        def test_1(shared): note("ran", shared)
        @pytest.mark.parametrize("shared", ["e", ["f"]], indirect=True)
        def test_2(shared): note("ran", shared)
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 0, run.text
    values = ["['f']", *"abcde"]
    assert sorted(line for line in run.notes if line.startswith("first")) == [
        f"first {value}" for value in values
    ]
    assert sorted(line for line in run.notes if line.startswith("last")) == [
        f"last {value}" for value in values
    ]
    assert run.ran == dict.fromkeys("ab", 3) | dict.fromkeys(["c", "d", "e", "['f']"], 1)


def test_functions_of_one_name_are_told_apart(stage: Stage) -> None:
    source = """
    from pytest_shared_session_scope import shared_session_scope_json
    @shared_session_scope_json()
    def shared(): return {value!r}
    """
    (stage.path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    for folder in ("one", "two"):
        (stage.path / folder).mkdir()
        stage.write(
            **{
                f"{folder}/conftest": source.format(value=folder),
                f"{folder}/test_a": f"def test_it(shared): assert shared == {folder!r}",
            }
        )
    run = stage.run()
    assert run.counts == {"passed": 2}, run.text


# --- runs that end otherwise --------------------------------------------------------------------


@pytest.mark.parametrize("options", [["-x"], ["--maxfail=1"]])
@pytest.mark.parametrize("more", [["-n2"], ["-n2", "--threads=2"], ["-n2", "--forked"]])
def test_a_run_that_stops_has_a_last_one(stage: Stage, options: list[str], more: list[str]) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a="""
        @pytest.mark.parametrize("n", range(9))
        def test_it(n, shared): assert n != 2
        """,
    )
    run = stage.run(*options, *more, workers=None)
    assert (run.exit, is_whole(run)) == (1, True), run.text + "\n".join(run.notes)


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--threads=2"], ["-n2", "--forked"]])
def test_ctrl_c_has_a_last_one(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a="""
        def test_1(shared): hold("a")
        def test_2(shared): hold("b")
        def test_3(shared): pass
        """,
    )
    running = stage.prepare(*options, workers=None)
    running.gate("a", "b")
    running.start()
    running.expect("holding a", "holding b")
    running.send(signal.SIGINT)
    run = running.end()
    assert (run.exit, is_whole(run)) == (2, True), run.text + "\n".join(run.notes)


def test_a_second_ctrl_c_leaves_no_last_one_and_says_so(stage: Stage) -> None:
    stage.write(conftest=CONFTEST + '    hold("cleanup")\n', test_a='def test_1(shared): hold("a")')
    running = stage.prepare(workers=1)
    running.gate("a", "cleanup")
    running.start()
    running.expect("holding a")
    running.send(signal.SIGINT)
    running.expect("holding cleanup")
    running.send(signal.SIGINT)
    run = running.end()
    assert run.exit == 2
    text = run.section("braid: shared fixtures that were not cleaned up")
    assert text.startswith(
        "conftest.shared (conftest.shared.0): the run has ended while it was cleaned up. What its "
    )


@pytest.mark.parametrize("options", [[], ["--forked"], ["--threads=2"], ["--start-method=spawn"]])
@pytest.mark.parametrize("workers", [1, 2])
def test_when_its_user_crashes_another_is_the_last(
    stage: Stage, options: list[str], workers: int
) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a="""
        def test_1(shared): pass
        def test_2(shared): os.kill(os.getpid(), signal.SIGKILL)
        def test_3(shared): pass
        """,
    )
    run = stage.run(*options, workers=workers)
    assert run.counts == {"passed": 2, "failed": 1}, run.text
    assert firsts(run) == lasts(run) == 1, run.notes


@pytest.mark.parametrize("options", [[], ["--threads=2"], ["--start-method=spawn"]])
@pytest.mark.parametrize("user", ["shared", "request"])
def test_when_the_last_user_crashes_one_more_worker_leaves_as_the_last(
    stage: Stage, options: list[str], user: str
) -> None:
    stage.write(
        conftest=CONFTEST,
        test_a=f"""
        def test_1({user}):
            {"request.getfixturevalue('shared')" if user == "request" else ""}
            os._exit(3)
        """,
    )
    run = stage.run(*options, workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 1})
    assert run.notes == ["enter first", "enter {'pair': [1, 2]}", "leave CleanupToken.LAST"]
    assert "not cleaned up" not in run.text


SERVED = """
from pytest_braid import shared_fixture
from pytest_shared_session_scope import CleanupToken, SetupToken, shared_session_scope_json
@shared_fixture
def server():
    note("up server")
    yield "address"
    note("down server")
@shared_session_scope_json()
def table(request):
    server = request.getfixturevalue("server")
    data = yield
    if data is SetupToken.FIRST:
        data = f"table at {server}"
    token = yield data
    note("leave", data, token)
"""
"""A fixture whose end needs one that the whole run shares."""


@pytest.mark.parametrize("asks", [True, False], ids=["asks", "names"])
@pytest.mark.parametrize(
    "options", [["-n1"], ["-n2"], ["-n1", "--start-method=spawn"], ["-n1", "-x"]]
)
def test_what_it_was_made_with_stands_until_one_more_worker_has_left_as_the_last(
    stage: Stage, options: list[str], asks: bool
) -> None:
    conftest = SERVED
    if not asks:
        conftest = conftest.replace("table(request)", "table(server)").replace(
            '    server = request.getfixturevalue("server")\n', ""
        )
    stage.write(
        conftest=conftest,
        test_a="""
        def test_1(table): os._exit(3)
        def test_2(): pass
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 1
    assert run.notes == [
        "up server",
        "leave table at address CleanupToken.LAST",
        "down server",
    ], run.text
    assert "not cleaned up" not in run.text


def test_of_several_values_that_are_left_each_has_what_it_was_made_with(stage: Stage) -> None:
    stage.write(
        conftest=SERVED.replace("json()", "json(params=[1, 2])"),
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_1(n, table): note("ran", n)
        def test_2(): note("ran 2")
        """,
    )
    run = stage.run("--forked", workers=2)
    assert run.exit == 0, run.text
    assert (run.notes.count("leave table at address CleanupToken.LAST"), run.notes[-1]) == (
        2,
        "down server",
    )


def test_who_dies_as_the_last_is_told_of_with_the_fixture(stage: Stage) -> None:
    stage.write(
        conftest=CONFTEST + "    if token is CleanupToken.LAST: os._exit(3)\n",
        test_a="def test_1(shared): pass",
    )
    run = stage.run(workers=1)
    assert run.exit == 1
    assert run.notes == ["enter first", "leave CleanupToken.LAST"], "it is told once"
    assert run.section("braid: shared fixtures that were not cleaned up") == (
        "conftest.shared (conftest.shared.0): while it was cleaned up: worker 'gw0' crashed, in "
        "'test_a.py::test_1': its process ended with exit code 3. What its setup has made may be "
        "left: look for it, and end it by hand\n"
    )


def test_what_nobody_can_enter_once_more_is_told_of(stage: Stage) -> None:
    stage.write(
        conftest=CONFTEST.replace(
            '    note("enter"', '    if isinstance(data, dict): os._exit(4)\n    note("enter"'
        ),
        test_a="def test_1(shared): os._exit(3)",
    )
    run = stage.run(workers=1)
    assert (run.exit, run.notes) == (1, ["enter first"])
    text = run.section("braid: shared fixtures that were not cleaned up")
    assert text.startswith(
        "conftest.shared (conftest.shared.0): nobody could use it once more: worker 'gw1' crashed"
    )


def test_an_error_of_the_one_who_enters_once_more_is_told_of_a_test(stage: Stage) -> None:
    stage.write(
        conftest=CONFTEST + "    if token is CleanupToken.LAST: raise OSError('full')\n",
        test_a="def test_1(shared): os._exit(3)",
    )
    run = stage.run(workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 1, "errors": 1})
    assert "OSError: full" in run.report("ERROR at teardown of test_1")
    assert lasts(run) == 1


def test_who_fails_to_enter_once_more_is_told_of_and_so_is_the_fixture(stage: Stage) -> None:
    entering = '    note("enter"'
    stage.write(
        conftest=CONFTEST.replace(
            entering, '    if isinstance(data, dict): raise OSError("no way")\n' + entering
        ),
        test_a="def test_1(shared): os._exit(3)",
    )
    run = stage.run(workers=1)
    assert (run.exit, run.counts) == (1, {"failed": 1, "errors": 1})
    assert "OSError: no way" in run.report("ERROR at teardown of test_1")
    text = run.section("braid: shared fixtures that were not cleaned up")
    assert "nobody could use it once more: its process has ended. What its setup" in text
    assert "!! braid: a shared fixture was not cleaned up, see above !!" in run.text


# --- setups that fail ---------------------------------------------------------------------------

TWO_USERS = """
def test_1(shared): pass
def test_2(shared): pass
"""

FAILING = """
from pytest_shared_session_scope import shared_session_scope_json
class Odd(Exception):
    def __init__(self, a, b): super().__init__(a)
@shared_session_scope_json()
def shared(worker_id):
    data = yield
    note("enter", data)
    {what}
    yield data
    note("left")
"""


def both_at_once(stage: Stage, what: str, *options: str) -> Ended:
    """Two workers ask for it before it is made."""
    stage.write(
        conftest=FAILING.format(what=what),
        test_a="def test_1(asks, shared): pass",
        test_b="def test_2(asks, shared): pass",
        plugin="""
        @pytest.fixture(scope="session", autouse=True)
        def asks(worker_id): note("asks", worker_id)
        """,
    )
    running = stage.prepare("-p", "plugin", "--dist=loadfile", *options)
    running.gate("a")
    running.start()
    running.expect("asks gw0", "asks gw1", "holding a")
    running.release("a")
    return running.end()


def test_a_setup_that_fails_fails_once_and_is_told_to_all(stage: Stage) -> None:
    run = both_at_once(stage, 'hold("a"); raise ValueError("no room")')
    assert (run.exit, run.counts) == (1, {"errors": 2})
    assert len([line for line in run.notes if line.startswith("enter")]) == 1
    for test in ("test_1", "test_2"):
        assert "ValueError: no room" in run.report(f"ERROR at setup of {test}")
    told = (
        "The shared fixture 'conftest.shared' is set up once for the whole run. That was in worker"
    )
    assert run.text.count(told) == 1


def test_of_an_exception_that_does_not_travel_the_text_is_told(stage: Stage) -> None:
    run = both_at_once(stage, 'hold("a"); raise Odd("full", 2)')
    assert (run.exit, run.counts) == (1, {"errors": 2})
    assert "SharedFixtureError: Odd" in run.text
    assert run.text.count("conftest.Odd: full") >= 2


def test_a_setup_that_skips_skips_all(stage: Stage) -> None:
    run = both_at_once(stage, 'hold("a"); pytest.skip("no server")', "-rs")
    assert (run.exit, run.counts) == (0, {"skipped": 2})
    assert len([line for line in run.notes if line.startswith("enter")]) == 1
    assert "no server" in run.section("short test summary info")


def test_a_setup_that_ends_its_process_is_not_tried_again(stage: Stage) -> None:
    run = both_at_once(stage, 'hold("a"); os._exit(3)')
    assert (run.exit, run.counts) == (1, {"failed": 1, "errors": 1})
    assert len([line for line in run.notes if line.startswith("enter")]) == 1
    assert (
        "SharedFixtureError: the shared fixture 'conftest.shared' is set up once for the whole "
        "run, and that has ended its process: worker 'gw"
    ) in run.text
    assert "its process ended with exit code 3" in run.text


def test_a_value_that_cannot_be_stored_fails_all(stage: Stage) -> None:
    run = both_at_once(stage, 'data = {object()}; hold("a")')
    assert (run.exit, run.counts) == (1, {"errors": 2})
    assert run.text.count("TypeError: Object of type set is not JSON serializable") >= 2


@pytest.mark.parametrize("options", [["-n0"], ["-n2"]])
@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("if False: yield", "has not yielded at all"),
        ("yield 1", "has yielded only once"),
        ("yield; yield 1; yield 2", "has yielded a third time"),
    ],
)
def test_yields_are_counted(stage: Stage, options: list[str], body: str, what: str) -> None:
    stage.write(
        conftest=f"""
        from pytest_shared_session_scope import shared_session_scope_json
        @shared_session_scope_json()
        def shared():
            {body}
        """,
        test_a="def test_1(shared): pass",
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 1
    assert (
        f"ValueError: conftest.shared {what}. A shared fixture that yields MUST yield exactly "
        "twice: data = yield, to be given the value or told to make it, and token = yield data"
    ) in run.text


# --- of other kinds -----------------------------------------------------------------------------


def test_an_async_function_is_refused(stage: Stage) -> None:
    stage.write(
        conftest="""
        from pytest_shared_session_scope import shared_session_scope_json
        @shared_session_scope_json()
        async def shared(): return 1
        """,
        test_a="def test_1(shared): pass",
    )
    run = stage.run(workers=1)
    assert run.exit == 4
    assert (
        "TypeError: shared is async, and a fixture of pytest-shared-session-scope is not: let it "
        "be a plain function, which runs asyncio.run(...) itself"
    ) in run.errors + run.text


def test_the_first_version_sends_none_and_a_text(stage: Stage) -> None:
    stage.write(
        conftest="""
        from pytest_shared_session_scope import CleanupToken, shared_json_scope_fixture
        @shared_json_scope_fixture(serialize=list, deserialize=tuple)
        def shared():
            initial = yield
            note("first" if initial is None else initial)
            token = yield (1, 2)
            note(token == "last", token == CleanupToken.LAST)
        """,
        test_a="def test_1(shared): assert shared == (1, 2)",
    )
    run = stage.run(workers=1)
    assert (run.exit, run.notes) == (0, ["first", "True True"])


def test_a_store_may_know_the_value_of_an_earlier_run(stage: Stage) -> None:
    stage.write(
        conftest=f"""
        from pytest_shared_session_scope import shared_session_scope_fixture
        from pytest_shared_session_scope.store import FileStore
        from pathlib import Path
        class Kept(FileStore):
            def _get_path(self, identifier, tmp_path_factory):
                return Path({str(stage.base)!r}, identifier)
        @shared_session_scope_fixture(Kept())
        def shared():
            note("made")
            return "value"
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_it(n, shared): assert shared == "value"
        """,
    )
    assert stage.run().notes == ["made"]
    again = stage.run()
    assert (again.counts, again.notes) == ({"passed": 3}, [])


@pytest.mark.parametrize("options", [["-n2"], ["-n2", "--start-method=spawn"]])
def test_it_takes_over_from_the_original_where_that_is_installed(
    stage: Stage, options: list[str]
) -> None:
    package = stage.path / "pytest_shared_session_scope"
    package.mkdir()
    source = "def shared_session_scope_json(): raise RuntimeError('not this one')"
    package.joinpath("__init__.py").write_text(source, encoding="utf-8")
    package.joinpath("plugin.py").write_text("", encoding="utf-8")
    stage.write(conftest=CONFTEST, test_a=FIVE)
    stage.env["PYTHONPATH"] = f"{stage.path}:{INSIDE}"
    plugin = ["-p", "pytest_shared_session_scope.plugin"]
    run = stage.run(*options, *plugin, workers=None)
    assert (run.exit, is_whole(run)) == (0, True), run.text + run.errors


def test_a_project_may_require_it(stage: Stage) -> None:
    (stage.path / "pytest.ini").write_text(
        "[pytest]\nrequired_plugins = pytest-shared-session-scope>=0.5\n", encoding="utf-8"
    )
    stage.write(test_a="def test_1(): pass")
    assert stage.run(workers=None).exit == 0
