"""``@shared_fixture`` and ``braid_share``: once for the run, in every kind of run."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.running import Ended, Stage

EVERY_RUN = {
    "processes": ["-n3"],
    "threads": ["-n2", "--threads=3"],
    "tasks": ["-n2", "--tasks=3"],
    "spawned": ["-n2", "--start-method=spawn"],
    "each": ["-n2", "--dist=each"],
    "worksteal": ["-n2", "--dist=worksteal"],
    "loadfile": ["-n2", "--dist=loadfile"],
    "forked": ["-n2", "--forked"],
    "recycled": ["-n2", "--max-tests-per-worker=2"],
    "mp": ["--mp", "--np=2"],
    "none": ["-n0"],
    "none, threads": ["-n0", "--threads=2"],
    "plain": [],
}

every_run = pytest.mark.parametrize("options", EVERY_RUN.values(), ids=EVERY_RUN)

SERVER = """
    import pytest_braid
    @pytest_braid.shared_fixture
    def server():
        note("up server"); yield {"port": 80}; note("down server")
"""


def once(run: Ended, *names: str) -> None:
    """Each was set up once and then torn down once."""
    for name in names:
        assert [each for each in run.notes if each in (f"up {name}", f"down {name}")] == [
            f"up {name}",
            f"down {name}",
        ], (run.notes, run.text)


def errors(run: Ended) -> dict[str, str]:
    """The traceback of each error."""
    parts = re.split(r"^_{3,} (.*) _{3,}$", run.section("ERRORS"), flags=re.MULTILINE)
    found = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        last = [*re.finditer(r"^\S+\.py:\d+: .*$", text, re.MULTILINE)][-1]  # of the traceback
        shown = re.sub(r"^\[gw\d+\] .*\n", "", text[: last.end()], flags=re.MULTILINE)
        found[name] = shown.strip()
    return found


@every_run
def test_it_is_set_up_and_torn_down_once(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.mark.parametrize("n", range(5))
        def test_n(server, n):
            assert server == {"port": 80}
            note("used")
        """,
        test_b="""
        def test_other(): pass
        class TestIt:
            def test_b(self, server): note("used")
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 0, run.text
    once(run, "server")
    used = [n for n, each in enumerate(run.notes) if each == "used"]
    assert run.notes.index("up server") < used[0]
    assert used[-1] < run.notes.index("down server")


@every_run
def test_fixtures_that_one_does_not_own_are_shared_by_their_names(
    stage: Stage, options: list[str]
) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="session")
        def server():
            note("up server"); yield ["a", 1]; note("down server")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(server, n): assert server == ["a", 1]
        """,
    )
    run = stage.run("-o", "braid_share=server other", *options, workers=None)
    assert run.exit == 0, run.text
    once(run, "server")


@every_run
def test_every_choice_of_parameters_is_one(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture(params=["x", "y"], ids=str.upper)
        def backend(request):
            note(f"up {request.param}"); yield request.param * 2; note(f"down {request.param}")
        @pytest_braid.shared_fixture
        def client(backend):
            note(f"up client of {backend}"); yield "c" + backend; note(f"down client of {backend}")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_n(backend, client, n, request):
            assert client == "c" + backend
            assert backend[0].upper() in request.node.name
        @pytest.mark.parametrize("backend", ["z"], indirect=True)
        def test_other(client): assert client == "czz"
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 0, run.text
    assert sorted(run.notes) == sorted(
        f"{way} {what}"
        for letter in "xyz"
        for what in (letter, f"client of {2 * letter}")
        for way in ("up", "down")
    )
    for letter in "xyz":
        order = [each for each in run.notes if letter in each.removeprefix("up")]
        client = f"client of {2 * letter}"
        assert order == [f"up {letter}", f"up {client}", f"down {client}", f"down {letter}"]


def test_no_value_comes_from_where_it_was_made(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def where(worker_id, testrun_uid, tmp_path_factory, pytestconfig):
            assert os.environ["PYTEST_XDIST_WORKER"] == worker_id
            pytestconfig.getini("testpaths")
            return os.getpid(), worker_id, testrun_uid, tmp_path_factory.mktemp("it")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(where, worker_id, testrun_uid, tmp_path_factory, n):
            pid, name, uid, path = where
            assert (pid != os.getpid(), name, uid) == (True, "shared", testrun_uid)
            assert worker_id.startswith("gw")
            assert path.is_dir() and path.parent != tmp_path_factory.getbasetemp()
            assert path.parent.parent == tmp_path_factory.getbasetemp().parent
        """,
    )
    assert stage.run().counts == {"passed": 4}


@every_run
def test_asked_for_by_name_it_is_the_same(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(request, n):
            assert request.getfixturevalue("server") == {"port": 80}
        def test_other(server): pass
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 0, run.text
    once(run, "server")


def test_whoever_could_ask_for_it_by_name_keeps_it(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        def test_static(server): note("ran static")
        """,
        test_b="""
        def test_dynamic(request):
            hold("static is over")
            assert request.getfixturevalue("server") == {"port": 80}
        """,
    )
    running = stage.start("--max-tests-per-worker=1", gates=("static is over",))
    running.expect("ran static")
    running.release("static is over")
    run = running.end()
    assert run.counts == {"passed": 2}
    once(run, "server")


def test_it_is_never_set_up_if_nobody_needs_it(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        def test_with(server): pass
        @pytest.mark.parametrize("n", range(4))
        def test_without(n): pass
        """,
    )
    run = stage.run("-k", "without")
    assert run.counts == {"passed": 4, "deselected": 1}
    assert run.notes == []


def test_others_run_while_it_is_set_up(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def slow():
            note("begins"); hold("slow"); yield 1
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_with(slow, n): pass
        """,
        test_b="""
        @pytest.mark.parametrize("n", range(6))
        def test_without(n): note(f"ran {n}")
        """,
    )
    for mode in ("load", "worksteal", "loadfile"):
        running = stage.start(f"--dist={mode}", gates=("slow",))
        running.expect("begins", *(f"ran {n}" for n in range(6)))
        running.release("slow")
        assert running.end().counts == {"passed": 12}


def test_the_output_of_setup_and_teardown_is_the_first_and_the_last_users(stage: Stage) -> None:
    stage.write(
        conftest="""
        import logging, warnings
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            print("out up"); print("err up", file=sys.stderr); os.system("echo child up")
            logging.getLogger("own").warning("log %s", "up")
            warnings.warn("warned up")
            yield 1
            print("out down"); logging.getLogger("own").warning("log down")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_n(server, n): pass
        """,
    )
    run = stage.run("-rA")
    passes = run.section("PASSES")
    for title, text in (
        ("Captured stdout setup", "child up\nout up\n"),
        ("Captured stderr setup", "err up\n"),
        ("Captured log setup", None),
        ("Captured stdout teardown", "out down\n"),
        ("Captured log teardown", None),
    ):
        found = re.findall(rf"^-+ {title} -+\n((?:(?!-----|_____).*\n)*)", passes, re.MULTILINE)
        assert len(found) == 1, (title, passes)
        assert text is None or sorted(found[0].splitlines()) == sorted(text.splitlines())
    assert passes.count("WARNING  own:conftest.py:") == 2
    assert "UserWarning: warned up" in run.section("warnings summary")


def test_the_output_of_a_teardown_that_nobody_waits_for_is_the_last_users(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            yield 1
            print("out down"); print("err down", file=sys.stderr)
        """,
        test_a="def test_it(server): os.kill(os.getpid(), signal.SIGKILL)",
    )
    run = stage.run()
    assert run.counts == {"failed": 1}
    failures = run.section("FAILURES")
    assert re.search(r"-+ Captured stdout teardown -+\nout down$", failures, re.MULTILINE), failures
    assert re.search(r"-+ Captured stderr teardown -+\nerr down$", failures, re.MULTILINE), failures


def test_without_capture_it_is_shown_at_once(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            print("out up"); yield 1; print("out down")
        """,
        test_a="def test_a(server): print('test')\ndef test_b(server): print('test')\n",
    )
    run = stage.run("-s")
    assert run.counts == {"passed": 2}
    assert [run.text.count(text) for text in ("out up", "out down")] == [1, 1]
    assert run.text.index("out up") < run.text.index("test\n") < run.text.index("out down")


@every_run
def test_asynchronous_ones_have_a_loop_that_runs(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        import asyncio, pytest_braid
        @pytest_braid.shared_fixture
        async def port():
            async def answer(reader, writer):
                writer.write((await reader.readline()).upper()); await writer.drain()
                writer.close()
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            note("up port")
            yield server.sockets[0].getsockname()[1]
            server.close(); await server.wait_closed()
            note("down port")
        @pytest_braid.shared_fixture
        async def double(port):
            await asyncio.sleep(0)
            return 2 * port
        """,
        test_a="""
        import socket
        @pytest.mark.parametrize("n", range(3))
        def test_n(port, double, n):
            assert double == 2 * port
            with socket.create_connection(("127.0.0.1", port)) as talk:
                talk.sendall(b"hello\\n")
                assert talk.recv(100) == b"HELLO\\n"
        """,
    )
    run = stage.run(*options, workers=None)
    assert run.exit == 0, run.text
    once(run, "port")


def test_autouse_fixtures_of_the_project_are_not_for_the_host(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest.fixture(scope="session", autouse=True)
        def of_each(worker_id): note(f"each {worker_id}")
        @pytest_braid.shared_fixture(autouse=True, name="all")
        def of_all(): note("up all"); yield 1; note("down all")
        """,
        test_a="""
        def test_a(): hold("both")
        def test_b(all): note("ran b"); assert all == 1; hold("both")
        """,
    )
    running = stage.start(gates=("both",))
    running.expect("ran b", "each gw0", "each gw1")
    running.release("both")
    running.release("both")
    run = running.end()
    assert run.counts == {"passed": 2}
    once(run, "all")
    assert "each shared" not in run.notes


def test_what_a_worker_makes_of_it_is_torn_down_before_it(stage: Stage) -> None:
    stage.write(
        conftest=SERVER
        + """
    @pytest.fixture(scope="session")
    def database(server, worker_id):
        yield worker_id
        note("down database")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(database, n): pass
        """,
    )
    for options in ([], ["--forked"], ["--max-tests-per-worker=1"], ["--threads=2"]):
        run = stage.run(*options)
        assert run.counts == {"passed": 4}
        once(run, "server")
        assert run.notes[-1] == "down server"


def test_one_that_overrides_a_shared_one_may_use_it(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.fixture(scope="session")
        def server(server): return server | {"own": True}
        def test_own(server): assert server == {"port": 80, "own": True}
        """,
        test_b="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(server): return server | {"shared": True}
        def test_shared(server): assert server == {"port": 80, "shared": True}
        """,
        test_c="def test_it(server): assert server == {'port': 80}",
    )
    for options in ([], ["--start-method=spawn"]):
        run = stage.run(*options)
        assert run.counts == {"passed": 3}, run.text
        once(run, "server")


@pytest.mark.parametrize("serializer", ["'pickle'", "'json'", "(dump, load)"])
def test_values_travel_as_they_are_told_to(stage: Stage, serializer: str) -> None:
    stage.write(
        conftest=f"""
        import pytest_braid
        def dump(value): return repr(value).encode()
        def load(data): return eval(data)
        @pytest_braid.shared_fixture(serializer={serializer})
        def value(): return {{"a": (1, 2), "b": [None, "text"]}}
        """,
        test_a=f"""
        def test_it(value):
            pair = [1, 2] if {serializer == "'json'"} else (1, 2)
            assert value == {{"a": pair, "b": [None, "text"]}}
        """,
    )
    assert stage.run().counts == {"passed": 1}


def test_a_large_value_is_not_left_in_memory(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def large(): return bytearray(range(256)) * 40_000
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(large, n):
            assert len(large) == 10_240_000 and large[255] == 255
            large[0] = n  # a copy of this worker's own
            assert not [name for name in os.listdir("/dev/shm") if "braid" in name]
        """,
    )
    assert stage.run(workers=4).counts == {"passed": 4}


def test_its_lines_are_covered(stage: Stage) -> None:
    stage.write(
        own="""
        def make():
            value = 1
            return value
        def unmake():
            return None
        """,
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def value():
            import own
            yield own.make()
            own.unmake()
        """,
        test_a="def test_a(value): pass\ndef test_b(value): pass\n",
    )
    run = stage.run("--cov=own", "--cov-report=json", "-p", "pytest_cov")
    assert run.counts == {"passed": 2}, run.text
    report = json.loads((stage.path / "coverage.json").read_text())
    assert report["files"]["own.py"]["missing_lines"] == []
