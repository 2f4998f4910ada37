"""``@shared_fixture`` when something goes wrong: one setup and one teardown in any case, and every
user told."""

from __future__ import annotations

import re
import signal

import pytest

from tests.e2e.running import Ended, Running, Stage
from tests.e2e.test_shared import EVERY_RUN, SERVER, errors, every_run, once

with_workers = pytest.mark.parametrize(
    "options",
    [options for name, options in EVERY_RUN.items() if name not in ("none", "plain")][:-1],
    ids=[name for name in EVERY_RUN if name not in ("none", "plain")][:-1],
)


def ups_and_downs(run: Ended) -> list[str]:
    return [each for each in run.notes if each.startswith(("up", "down"))]


def interrupted(running: Running) -> Ended:
    """What ``running`` leaves, once it has ended as a run does after Ctrl-C."""
    run = running.end()
    assert run.exit == pytest.ExitCode.INTERRUPTED
    return run


# --- setups that fail -----------------------------------------------------------------------------


FAILING = """
    import pytest_braid
    class Unavailable(Exception): pass
    def connect(port):
        raise Unavailable(f"nobody listens on port {port}")
    @pytest_braid.shared_fixture
    def server():
        note("up server"); print("trying")
        connect(80)
"""


@every_run
def test_a_setup_that_fails_is_told_to_every_user_as_in_a_serial_run(
    stage: Stage, options: list[str]
) -> None:
    stage.write(
        conftest=FAILING,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(server, n): pass
        def test_other(): pass
        """,
    )
    run, serial = stage.run(*options, workers=None), stage.serial("-o", "braid_share=")
    copies = 2 if "each" in str(options) else 1
    assert run.counts == {"errors": 4 * copies, "passed": copies}
    assert run.notes == ["up server"]
    assert errors(run) == errors(serial)
    assert len(errors(run)) == 4
    summary = "test_n[0] - conftest.Unavailable: nobody listens on port 80"
    assert run.text.count(summary) == copies
    assert run.text.count("\ntrying\n") == 1


@every_run
def test_a_setup_that_skips_is_told_to_every_user(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); pytest.skip("no server here")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(server, n): pass
        def test_dynamic(request): request.getfixturevalue("server")
        """,
    )
    run, serial = (
        stage.run("-rs", *options, workers=None),
        stage.serial("-rs", "-o", "braid_share="),
    )
    copies = 2 if "each" in str(options) else 1
    assert run.counts == {"skipped": 5 * copies}
    assert run.notes == ["up server"]
    lines = [line for line in serial.text.splitlines() if "no server here" in line]
    assert lines
    if copies == 1:
        ours = [line for line in run.text.splitlines() if "no server here" in line]
        assert sorted(ours) == sorted(lines)


def test_what_a_setup_expects_to_fail_does_so_for_every_user(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): pytest.xfail("not yet")
        """,
        test_a="def test_a(server): pass\ndef test_b(server): pass",
    )
    assert stage.run().counts == {"xfailed": 2}


def test_what_it_raises_can_be_caught_by_who_asks_by_name(stage: Stage) -> None:
    stage.write(
        conftest=FAILING,
        test_a="""
        from conftest import Unavailable
        def test_caught(request):
            with pytest.raises(Unavailable, match="port 80"):
                request.getfixturevalue("server")
        def test_not_caught(request): request.getfixturevalue("server")
        """,
    )
    run = stage.run()
    assert run.counts == {"passed": 1, "failed": 1}
    report = run.report("test_not_caught")
    assert "def test_not_caught(request): request.getfixturevalue" in report
    assert 'raise Unavailable(f"nobody listens on port {port}")' in report
    assert run.notes == ["up server"]


def test_an_exception_that_cannot_be_sent_is_told_in_words(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid, threading
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")
                self.lock = threading.Lock()
        @pytest_braid.shared_fixture
        def server(): raise Odd(1, 2)
        """,
        test_a="def test_a(server): pass\ndef test_b(request): request.getfixturevalue('server')",
    )
    run = stage.run()
    assert run.counts == {"errors": 1, "failed": 1}
    assert "ERROR test_a.py::test_a - conftest.Odd: 1 and 2" in run.text
    assert "Odd: 1 and 2" in run.report("test_b")


def test_a_setup_that_ends_the_run_ends_it(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); pytest.exit("no licence", returncode=7)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(server, n): pass
        """,
    )
    run = stage.run()
    assert run.exit == 7
    assert "no licence" in run.text
    assert run.notes == ["up server"]


def test_of_two_the_one_that_does_not_fail_is_torn_down(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def base(): note("up base"); yield 1; note("down base")
        @pytest_braid.shared_fixture
        def derived(base):
            note("up derived")
            raise OSError("broken")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_n(derived, n): pass
        """,
    )
    run = stage.run()
    assert run.counts == {"errors": 3}
    assert sorted(run.notes) == ["down base", "up base", "up derived"]


# --- teardowns that fail --------------------------------------------------------------------------


@every_run
def test_a_teardown_that_fails_is_told_once(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            note("up server"); yield 1; note("down server")
            raise OSError("still in use")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(4))
        def test_n(server, n): pass
        """,
    )
    run = stage.run(*options, workers=None)
    copies = 2 if "each" in str(options) else 1
    assert run.counts == {"passed": 4 * copies, "errors": 1}, run.text
    assert run.exit == 1
    assert re.search(r"^_+ ERROR at teardown of test_n\[\d\] _+$", run.text, re.MULTILINE)
    assert 'raise OSError("still in use")' in run.text
    once(run, "server")


def test_a_teardown_that_fails_behind_the_last_worker_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): yield 1; note("down server"); raise OSError("still in use")
        """,
        test_a="""
        def test_a(server): pass
        def test_b(server): os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    run = stage.run(workers=1)
    assert run.counts == {"passed": 1, "failed": 1, "errors": 1}
    assert 'raise OSError("still in use")' in run.report("ERROR at teardown of test_b")


# --- values that cannot be sent -------------------------------------------------------------------


UNSENDABLE = """
    import pytest_braid, socket, threading
    class Client:
        def __init__(self): self.sock = socket.socket()
    @pytest_braid.shared_fixture(serializer={serializer!r})
    def server():
        note("up server"); yield {value}; note("down server")
"""


@pytest.mark.parametrize(
    ("serializer", "value", "what"),
    [
        ("pickle", "{'client': [Client()]}", "value['client'][0].sock is a socket.socket"),
        ("pickle", "threading.Lock()", "value is a _thread.lock"),
        ("pickle", "(1, lambda: 1)", "value[1] is a function"),
        ("json", "{'a': {1, 2}}", "value['a'] is a set"),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_path(
    stage: Stage, serializer: str, value: str, what: str
) -> None:
    stage.write(
        conftest=UNSENDABLE.format(serializer=serializer, value=value),
        test_a="def test_a(server): pass\ndef test_b(server): pass",
    )
    run = stage.run()
    assert run.counts == {"errors": 2}
    name = {"pickle": "pickle", "json": "JSON"}[serializer]
    text = " ".join(run.text.split())
    assert (
        "fixture 'server' is shared by the whole run, and its value cannot be sent to the workers "
        f"by {name}: {what}"
    ) in text
    assert "Return what can be sent (an address, a path, a name) and make the rest of it" in text
    once(run, "server")


def test_what_cannot_be_read_again_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture(serializer=(str.encode, int))
        def server(): yield "one"
        @pytest_braid.shared_fixture(serializer=(str, int))
        def other(): yield "one"
        """,
        test_a="def test_a(server): pass\ndef test_b(other): pass",
    )
    run = stage.run()
    assert run.counts == {"errors": 2}
    text = " ".join(run.text.split())
    assert (
        "fixture 'server' is shared by the whole run, and its value could not be read again" in text
    )
    assert "str, the first of the two functions of its serializer, must return bytes" in text


# --- what may not be used -------------------------------------------------------------------------


def test_other_fixtures_are_refused_with_the_way_to_them(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest.fixture(scope="session")
        def config(): return 1
        @pytest_braid.shared_fixture
        def database(config): pass
        @pytest_braid.shared_fixture
        def server(database): pass
        @pytest_braid.shared_fixture
        def dynamic(request): request.getfixturevalue("config")
        @pytest_braid.shared_fixture
        def narrow(tmp_path): pass
        """,
        test_a="""
        def test_a(server): pass
        def test_b(dynamic): pass
        def test_c(narrow): pass
        """,
    )
    run = stage.run()
    assert run.counts == {"errors": 3}
    text = " ".join(run.text.split())
    assert (
        "fixture 'server' is shared by the whole run and set up in a process without tests, where "
        "'database' cannot use 'config'"
    ) in text
    assert (
        "conftest.py:5), which is not shared: server -> database -> config. Share 'config' too"
        in (text)
    )
    assert "dynamic -> config" in text
    assert "ScopeMismatch: You tried to access the function scoped fixture tmp_path" in text


def test_only_session_fixtures_can_be_shared(stage: Stage) -> None:
    stage.write(
        conftest="""
        @pytest.fixture(scope="module")
        def server(): pass
        """,
        test_a="def test_a(server): pass",
    )
    run = stage.run("-o", "braid_share=server")
    assert run.exit == pytest.ExitCode.USAGE_ERROR
    text = " ".join((run.text + run.errors).split())
    assert "the ini option braid_share: fixture 'server'" in text
    assert "has scope 'module': only a fixture of scope 'session' can be shared" in text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("serializer='yaml'", "serializer='yaml' is none: give 'pickle', 'json', or two functions"),
        ("scope='module'", "scope='module' cannot be shared by the whole run"),
    ],
)
def test_a_wrong_argument_is_told_where_it_is(stage: Stage, call: str, text: str) -> None:
    stage.write(
        conftest="",
        test_a=f"""
        import pytest_braid
        @pytest_braid.shared_fixture({call})
        def server(): pass
        """,
    )
    assert text in " ".join(stage.run().text.split())


# --- runs that end early --------------------------------------------------------------------------


@with_workers
def test_after_the_first_failure_it_is_torn_down(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.mark.parametrize("n", range(8))
        def test_n(server, n): assert n != 1
        """,
    )
    run = stage.run("-x", *options, workers=None)
    assert run.exit == 1
    once(run, "server")


@with_workers
def test_after_a_crash_it_is_torn_down(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.mark.parametrize("n", range(6))
        def test_n(server, n):
            if n == 2: os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    run = stage.run(*options, workers=None)
    copies = 2 if "each" in str(options) else 1
    assert run.counts == {"failed": copies, "passed": 5 * copies}, run.text
    once(run, "server")


def test_after_the_crash_of_the_last_it_is_torn_down(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="def test_n(server): os.kill(os.getpid(), signal.SIGKILL)",
    )
    run = stage.run()
    assert run.counts == {"failed": 1}
    once(run, "server")


@with_workers
def test_after_ctrl_c_it_is_torn_down(stage: Stage, options: list[str]) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        @pytest.mark.parametrize("n", range(2))
        def test_n(server, n): note("ran"); hold("never")
        """,
    )
    running = stage.prepare(*options, workers=None)
    running.gate("never")
    running.start()
    running.expect("ran")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    once(run, "server")


def test_ctrl_c_breaks_a_setup_off(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def base(): note("up base"); yield 1; note("down base")
        @pytest_braid.shared_fixture
        def server(base):
            try:
                note("up server"); hold("never"); yield 1
            finally:
                note("down server")
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_n(server, n): pass
        def test_other(request): request.getfixturevalue("server")
        """,
    )
    running = stage.start(gates=("never",))
    running.expect("up server")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    once(run, "base", "server")


def test_ctrl_c_that_comes_before_the_host_has_begun_breaks_its_setup_off(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); hold("never"); yield 1; note("down server")
        """,
        test_a="""
        first = [True]  # of those that are forked from here: it is the host
        os.register_at_fork(
            before=lambda: first.append(len(first) == 1),
            after_in_child=lambda: first[-1] and hold("born"),
        )
        def test_server(server): pass
        def test_other():
            try: hold("never")
            except KeyboardInterrupt: note("interrupted"); raise
        """,
    )
    running = stage.start(gates=("never", "born"))
    running.expect("holding born", "holding never")
    running.send_to_group(signal.SIGINT)
    running.expect("interrupted")  # behind the host, which was sent its signal before
    running.release("born")
    run = interrupted(running)
    assert ups_and_downs(run) == []


def test_ctrl_c_while_a_spawned_host_collects_ends_the_run(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); hold("never"); yield 1; note("down server")
        """,
        test_a="""
        if os.environ.get("PYTEST_XDIST_WORKER") == "shared": hold("host")
        def test_server(server): pass
        def test_other(): hold("never")
        """,
    )
    running = stage.prepare("--start-method=spawn")
    running.gate("never", "host")
    running.start()
    running.expect("holding host", "holding never")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    assert ups_and_downs(run) == []


def test_after_ctrl_c_no_setup_goes_on_that_was_waited_for(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); hold("never"); yield 1
        @pytest_braid.shared_fixture
        def client(): note("up client"); hold("never"); yield 1
        """,
        test_a="""
        def test_server(server): pass
        def test_client(request):
            note("asks")
            request.getfixturevalue("client")
        """,
    )
    running = stage.start(gates=("never",))
    running.expect("up server", "asks")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    assert ups_and_downs(run)[0] == "up server"


def test_ctrl_c_that_comes_behind_a_setup_breaks_no_other_off(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def first():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            note("up first"); hold("first"); yield 1; note("down first")
        @pytest_braid.shared_fixture
        def second():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            note("up second"); yield 2; note("down second")
        """,
        test_a="""
        def test_first(first): pass
        def test_second(request):
            try: hold("never")
            except KeyboardInterrupt: note("caught")
            note(f"has {request.getfixturevalue('second')}")
        """,
    )
    running = stage.start(gates=("first", "never"))
    running.expect("up first", "holding first", "holding never")
    running.send_to_group(signal.SIGINT)
    running.expect("caught")  # behind the host, which was sent its signal before
    running.release("first")
    run = interrupted(running)
    assert "has 2" in run.notes
    once(run, "first", "second")


def test_ctrl_c_twice_breaks_a_setup_off_that_has_caught_the_first(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            note("up server")
            try: hold("never")
            except KeyboardInterrupt: note("caught")
            try: hold("never")
            finally: note("down server")
            yield 1
        """,
        test_a="def test_it(server): pass",
    )
    running = stage.start(gates=("never",))
    running.expect("up server", "holding never")
    running.send_to_group(signal.SIGINT)
    running.expect("caught")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    once(run, "server")


def test_ctrl_c_twice_does_not_disturb_what_cleans_up_behind_the_first(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            note("up server")
            try: hold("never")
            finally:
                usual = signal.getsignal(signal.SIGINT)
                signal.signal(signal.SIGINT, lambda *given: (note("again"), usual(*given)))
                hold("cleanup")
                note("down server")
            yield 1
        """,
        test_a="def test_it(server): pass",
    )
    running = stage.start(gates=("never", "cleanup"))
    running.expect("up server", "holding never")
    running.send_to_group(signal.SIGINT)
    running.expect("holding cleanup")
    running.send_to_group(signal.SIGINT)
    running.expect("again")
    running.release("cleanup")
    run = interrupted(running)
    once(run, "server")


def test_ctrl_c_twice_leaves_it_torn_down(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        def test_it(server):
            signal.signal(signal.SIGINT, lambda *_: note("once"))
            note("ran")
            while True: hold("never")
        """,
    )
    running = stage.start(gates=("never",))
    running.expect("ran")
    running.send_to_group(signal.SIGINT)
    running.expect("once")
    running.send_to_group(signal.SIGINT)
    run = interrupted(running)
    once(run, "server")


# --- the host crashes -----------------------------------------------------------------------------


def test_a_setup_that_ends_the_host_fails_its_users_and_no_other(stage: Stage) -> None:
    stage.write(
        conftest=SERVER
        + """
    @pytest_braid.shared_fixture
    def crashing():
        note("up crashing"); print("last words", flush=True); os.kill(os.getpid(), signal.SIGKILL)
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(3))
        def test_crashing(crashing, n): pass
        """,
        test_b="""
        @pytest.mark.parametrize("n", range(3))
        def test_server(server, n): pass
        def test_without(): pass
        """,
    )
    for options in (["-n2"], ["-n2", "--start-method=spawn"]):
        run = stage.run(*options, workers=None)
        assert run.counts == {"errors": 3, "passed": 4}, run.text
        assert run.exit == 1
        text = " ".join(run.report("ERROR at setup of test_crashing[0]").split())
        assert (
            "shared fixture 'crashing' is not there: the fixture host, the process that sets up "
            "shared fixtures, has crashed while it set up 'crashing': its process was killed by "
            "signal 9 (SIGKILL"
        ) in text
        assert "last words" in text
        assert run.notes.count("up crashing") == 1
        once(run, "server")


def test_a_host_that_crashes_fails_those_who_come_later(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); yield os.getpid()
        """,
        test_a="""
        def test_a(server):
            os.kill(server, signal.SIGKILL); hold("go on")
        @pytest.mark.parametrize("n", range(3))
        def test_n(server, n): pass
        def test_without(): pass
        """,
    )
    running = stage.start("--forked", gates=("go on",), workers=1)
    running.expect("up server")
    running.release("go on")
    run = running.end()
    assert run.counts == {"passed": 2, "errors": 3}
    assert "the fixture host, the process that sets up shared fixtures, has crashed" in run.text
    assert ups_and_downs(run) == ["up server"]
    assert run.exit == 1


def test_a_host_that_crashes_behind_the_last_setup_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): yield os.getpid(); note("down server")
        """,
        test_a="def test_a(server): os.kill(server, signal.SIGKILL); hold('go on')",
    )
    running = stage.prepare()
    running.gate("go on")
    running.start()
    running.expect("holding go on")
    running.release("go on")
    run = running.end()
    assert run.counts == {"passed": 1, "errors": 1}, run.text
    text = run.report("ERROR at teardown of test_a")
    assert "the process that sets up shared fixtures, has crashed" in text


def test_a_teardown_that_ends_the_host_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): yield 1; note("down server"); os._exit(3)
        """,
        test_a="def test_a(server): pass\ndef test_b(server): pass",
    )
    run = stage.run()
    assert run.counts == {"passed": 2, "errors": 1}, run.text
    text = " ".join(run.text.split())
    assert "has crashed while it tore down 'server': its process ended with exit code 3" in text
    assert run.exit == 1


def test_a_teardown_that_ends_the_host_and_nobody_waits_for_is_told(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): yield 1; note("down server"); os._exit(3)
        """,
        test_a="""
        def test_a(server): os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    run = stage.run(workers=1)
    assert run.counts == {"failed": 1, "errors": 1}, run.text
    text = " ".join(run.report("ERROR at teardown of test_a").split())
    assert "has crashed while it tore down 'server': its process ended with exit code 3" in text


def test_when_the_controller_is_killed_no_process_is_left(stage: Stage) -> None:
    stage.write(conftest=SERVER, test_a="def test_a(server): note('ran'); hold('never')")
    running = stage.start(gates=("never",))
    running.expect("ran")
    running.send(signal.SIGKILL)
    running.await_end()
    running.require_gone()


def test_a_setup_that_hangs_is_ended_at_the_limit(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): note("up server"); hold("never")
        """,
        test_a="""
        def test_a(server): pass
        def test_b(server): pass
        def test_without(): pass
        """,
    )
    running = stage.start("--test-timeout=0.5", gates=("never",))
    run = running.end()
    assert run.counts == {"errors": 2, "passed": 1}, run.text
    text = " ".join(run.report("ERROR at setup of test_a").split())
    assert "shared fixture 'server' is not there: Timeout at" in text
    assert (
        "after 0.5 s (--test-timeout): the fixture host, the process that sets up shared fixtures, "
        "was ended while it set up 'server', and nothing that stood there is torn down. If it "
        "needs longer, raise the limit."
    ) in text
    assert "in server" in text
    assert run.notes.count("up server") == 1


def test_each_teardown_at_the_end_of_the_run_has_its_limit(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def first(): yield 1; note("down first"); hold("never")
        @pytest_braid.shared_fixture
        def second(first): yield 1; note("down second")
        """,
        test_a="""
        def test_a(first, second): os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    running = stage.start("--test-timeout=0.5", gates=("never",), workers=1)
    run = running.end()
    assert run.counts == {"failed": 1, "errors": 1}, run.text
    assert [each for each in run.notes if "down" in each] == ["down second", "down first"]
    text = " ".join(run.report("ERROR at teardown of test_a").split())
    assert "after 0.5 s (--test-timeout): the fixture host" in text


def test_a_setup_that_nobody_waits_for_is_broken_off_behind_the_first_failure(
    stage: Stage,
) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server():
            try:
                note("up server"); hold("never"); yield 1
            finally:
                note("down server")
        """,
        test_a="""
        def test_fails(): hold("go on"); assert False
        def test_later(server): pass
        """,
    )
    running = stage.start("-x", gates=("go on", "never"), workers=1)
    running.expect("up server")
    running.release("go on")
    run = running.end()
    assert run.counts["failed"] == 1
    once(run, "server")


def test_a_crash_of_which_no_user_was_told_is_told_at_the_end(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pytest_braid
        @pytest_braid.shared_fixture
        def server(): yield os.getpid(); note("down server")
        """,
        test_a="""
        def test_a(server):
            os.kill(server, signal.SIGKILL); hold("go on"); os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    running = stage.prepare(workers=1)
    running.gate("go on")
    running.start()
    running.expect("holding go on")
    running.release("go on")
    run = running.end()
    assert run.counts == {"failed": 1, "errors": 1}, run.text
    assert "the fixture host, the process that sets up shared fixtures, has crashed" in run.text


def test_a_spawned_host_that_has_collected_other_tests_sets_nothing_up(stage: Stage) -> None:
    stage.write(
        conftest=SERVER,
        test_a="""
        own = os.environ.get("PYTEST_XDIST_WORKER") == "shared"
        @pytest.mark.parametrize("n", [1, 2] if own else [1])
        def test_n(server, n): pass
        """,
    )
    run = stage.run("--start-method=spawn")
    assert run.counts == {"errors": 1}, run.text
    text = " ".join(run.report("ERROR at setup of test_n[1]").split())
    assert (
        "shared fixture 'server' is not there: the fixture host, the process that sets up shared "
        "fixtures, has collected other tests than the workers."
    ) in text
    assert ups_and_downs(run) == []
