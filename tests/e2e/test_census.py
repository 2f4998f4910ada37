"""What a session holds after collection: copies of it share it harmlessly, or are not made."""

from __future__ import annotations

import random
import re
import socket
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import takewhile

import pytest

from tests.e2e.running import Ended, Stage
from tests.e2e.serial import INSIDE

needs_filelock = pytest.mark.skipif(find_spec("filelock") is None, reason="filelock is missing")
needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="numpy is not installed")

HELD = {
    "a thread": (
        """
        import threading
        def waits(): threading.Event().wait()
        threading.Thread(target=waits, name="poller", daemon=True).start()
        """,
        r"thread 'poller' is running \(waits, .*/test_a\.py:\d+\)",
    ),
    "a timer": (
        """
        import threading
        timer = threading.Timer(1000, print)
        timer.daemon = True
        timer.start()
        """,
        r"thread 'Thread-\d+' is running \(threading\.Timer\)",
    ),
    "a pool of threads": (
        """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor()
        pool.submit(int).result()
        """,
        r"thread 'ThreadPoolExecutor-0_0' is running",
    ),
    "a thread without an object": (
        """
        import _thread
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.acquire, ())
        """,
        r"1 native thread\(s\) not started by Python are running",
    ),
    "a connected socket": (
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        connection = socket.create_connection(server.getsockname())
        server.accept()[0].detach()
        server.close()
        """,
        r"a socket connected to \('127\.0\.0\.1', \d+\) is open \(test_a\.connection, <socket",
    ),
    "a pair of sockets": (
        "import socket\nends = socket.socketpair()",
        r"a socket connected \(one end of a pair\) is open \(<socket",
    ),
    "a listening socket": (
        'import socket\nserver = socket.create_server(("127.0.0.1", 0))',
        r"a socket bound to \('127\.0\.0\.1', \d+\) is open \(test_a\.server, <socket",
    ),
    "a listening socket with a path": (
        """
        import socket, tempfile
        server = socket.socket(socket.AF_UNIX)
        server.bind(tempfile.mktemp())
        server.listen()
        """,
        r"a socket bound to '.*' is open \(test_a\.server, <socket",
    ),
    "an event loop": (
        "import asyncio\nloop = asyncio.new_event_loop()",
        r"an event loop is open \(test_a\.loop, <_UnixSelectorEventLoop",
    ),
    "an epoll object": (
        "import select\npoll = select.epoll()",
        r"an event loop is open \(an epoll object\)",
    ),
    "a database": (
        """
        import sqlite3
        db = sqlite3.connect("data.db")
        with db: db.execute("CREATE TABLE IF NOT EXISTS t (n)")
        """,
        r"an SQLite connection to /.*/data\.db is open \(test_a\.db, <sqlite3\.Connection",
    ),
    "a new and empty database": (
        'import sqlite3\ndb = sqlite3.connect("data.db")',
        r"an SQLite connection to /.*/data\.db is open \(test_a\.db, <sqlite3\.Connection",
    ),
    "a child process": (
        """
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        """,
        r"child process \d+ \((.*python.* -c input\(\)|python.*)\) is running",
    ),
    "a pool of processes": (
        """
        import multiprocessing
        if multiprocessing.parent_process() is None:
            pool = multiprocessing.get_context("fork").Pool(1)
        """,
        r"child process \d+ \(.*pytest",
    ),
}


def require_refused(ended: Ended, reason: str) -> None:
    assert ended.exit == pytest.ExitCode.USAGE_ERROR
    text = ended.errors + ended.text
    assert "braid cannot fork workers from this test session:\n  - " in text
    listed = [line for line in text.splitlines() if line.startswith("  - ")]
    found = [line for line in listed if re.search(reason, line)]
    assert found, text
    assert (
        "\nWithout --start-method fork the workers would be spawned, and collect for themselves."
    ) in text
    assert not ended.ran


def require_spawned(ended: Ended, reason: str) -> None:
    """The run says why it forks no workers, and runs everything all the same."""
    head = (
        "braid: workers are spawned and collect for themselves, which takes longer; they cannot be "
        "forked from this test session:"
    )
    _, _, below = ended.text.partition(head + "\n")
    listed = list(takewhile(lambda line: line.startswith("  - "), below.splitlines()))
    assert any(re.search(reason, line) for line in listed), ended.text
    assert ended.exit == 0, ended.text


def holding(stage: Stage, source: str) -> None:
    stage.write(test_a=source, test_b="def test_b(): note('ran b')")
    with (stage.path / "test_a.py").open("a") as file:
        file.write("\ndef test_a(): note('ran a')\n")


@pytest.mark.parametrize("thing", HELD)
def test_what_copies_cannot_share_is_not_copied(stage: Stage, thing: str) -> None:
    source, reason = HELD[thing]
    holding(stage, source)
    ended = stage.run()
    require_spawned(ended, reason)
    assert ended.ran == Counter(["a", "b"])


@pytest.mark.parametrize("thing", HELD)
def test_what_copies_cannot_share_is_refused_where_fork_is_asked_for(
    stage: Stage, thing: str
) -> None:
    source, reason = HELD[thing]
    holding(stage, source)
    require_refused(stage.run("--start-method=fork"), reason)


FILE_LOCK = """
    import filelock
    lock = filelock.FileLock("the.lock")
"""


@needs_filelock
@pytest.mark.parametrize("place", ["conftest", "locking"])
def test_a_file_lock_that_refuses_to_be_copied_is_not_copied(stage: Stage, place: str) -> None:
    stage.write(
        **{place: FILE_LOCK},
        test_a=f"""
        from {place} import lock
        @pytest.mark.parametrize("n", range(3))
        def test_a(n):
            with lock: note("ran", n)
        """,
    )
    ended = stage.run()
    require_spawned(
        ended, rf"a file lock has been made \({place}\.lock, <filelock.*\), and refuses"
    )
    assert ended.ran == Counter("012")


@needs_filelock
def test_who_insists_on_fork_gets_file_locks_that_no_test_may_use(stage: Stage) -> None:
    holding(stage, FILE_LOCK)
    ended = stage.run("--start-method=fork")
    assert (ended.exit, ended.counts) == (0, {"passed": 2}), ended.errors
    assert "spawned" not in ended.text


@needs_filelock
def test_a_file_lock_that_knows_no_process_is_no_reason(stage: Stage) -> None:
    holding(stage, FILE_LOCK + "    del lock._creator_pid")
    ended = stage.run()
    assert (ended.exit, ended.counts) == (0, {"passed": 2}), ended.errors
    assert "spawned" not in ended.text


@pytest.mark.parametrize("place", ["import", "configure", "sessionstart", "collection"])
def test_a_thread_of_a_conftest_is_not_copied(stage: Stage, place: str) -> None:
    """Also one that was started in the controller, from where it did not come along."""
    stage.write(
        conftest=f"""
        import threading
        def begin(at):
            if at == {place!r}:
                thread = threading.Thread(target=threading.Event().wait, name="poller")
                thread.daemon = True
                thread.start()
        begin("import")
        def pytest_configure(): begin("configure")
        def pytest_sessionstart(): begin("sessionstart")
        def pytest_collection_modifyitems(): begin("collection")
        """,
        test_a="def test_a(): note('ran a')",
    )
    require_refused(stage.run("--start-method=fork"), "thread 'poller' is running")
    ended = stage.run()
    require_spawned(ended, "thread 'poller' is running")
    assert ended.ran == Counter("a")


def test_all_reasons_are_told_at_once(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, socket, threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        server = socket.create_server(("127.0.0.1", 0))
        loop = asyncio.new_event_loop()
        def test_a(): pass
        """
    )
    text = stage.run("--start-method=fork").errors
    assert len([line for line in text.splitlines() if line.startswith("  - ")]) == 3


def test_a_refused_session_ends_in_order(stage: Stage) -> None:
    stage.write(
        conftest="def pytest_unconfigure(config): note('unconfigured')",
        test_a="""
        import atexit, asyncio
        loop = asyncio.new_event_loop()
        atexit.register(note, "at exit")
        def test_a(): pass
        """,
    )
    ended = stage.run("--start-method=fork")
    assert ended.exit == pytest.ExitCode.USAGE_ERROR
    assert Counter(ended.notes) == {"unconfigured": 2, "at exit": 1}


def test_nothing_is_refused_where_nothing_runs(stage: Stage) -> None:
    stage.write(test_a="import asyncio\nloop = asyncio.new_event_loop()")
    assert stage.run().exit == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_session_that_cannot_be_forked_ends_before_others_begin(stage: Stage) -> None:
    """What it holds, a port say, is then free for the worker that makes it anew."""
    stage.write(
        conftest="""
        import socket
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.server = socket.create_server(("127.0.0.1", PORT), reuse_port=False)
        def pytest_unconfigure(config):
            if hasattr(config, "workerinput"):
                config.server.close()
                note("closed")
        """,
        test_a="def test_a(): note('ran a')",
    )
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    conftest = stage.path / "conftest.py"
    conftest.write_text(conftest.read_text().replace("PORT", str(port)))
    ended = stage.run()
    require_spawned(ended, r"a socket bound to \('127\.0\.0\.1', \d+\)")
    assert ended.notes == ["closed", "ran a", "closed"]


PAIRED = """
    def pytest_sessionstart(session): note("session starts")

    def pytest_sessionfinish(session): note("session finishes")
"""


def test_paired_session_hooks_of_the_project_are_not_copied(stage: Stage) -> None:
    stage.write(conftest=PAIRED, test_a="def test_a(): note('ran a')")
    ended = stage.run(workers=1)
    require_spawned(
        ended,
        r"conftest\.py:4 implements pytest_sessionstart and pytest_sessionfinish: .* use a fixture "
        "of session scope instead",
    )
    # in the controller, in the process that collected, and in the worker
    assert Counter(ended.notes) == {"session starts": 3, "session finishes": 3, "ran a": 1}


def test_who_insists_on_fork_gets_paired_hooks_that_do_not_pair(stage: Stage) -> None:
    stage.write(conftest=PAIRED, test_a="def test_a(): note('ran a')")
    ended = stage.run("--start-method=fork", workers=1)
    assert ended.exit == 0
    assert Counter(ended.notes) == {"session starts": 2, "session finishes": 2, "ran a": 1}


def test_paired_session_hooks_of_an_object_are_not_copied(stage: Stage) -> None:
    stage.write(
        **{
            "tools/plugin": "class Plugin:\n    "
            "def pytest_sessionfinish(self): pass\n    def pytest_sessionstart(self): pass\n"
        },
        conftest="""
        from tools.plugin import Plugin
        def pytest_configure(config): config.pluginmanager.register(Plugin())
        """,
        test_a="def test_a(): note('ran a')",
    )
    require_spawned(stage.run(), r"tools/plugin\.py:\d+ implements pytest_sessionstart")


def test_paired_session_hooks_of_an_installed_plugin_are_its_own_business(stage: Stage) -> None:
    """It is written for workers, even if it is installed below the project."""
    folder = ".venv/lib/site-packages"
    stage.write(**{f"{folder}/plugin": PAIRED}, test_a="def test_a(): note('ran a')")
    stage.env["PYTHONPATH"] = f"{stage.path / folder}:{INSIDE}"
    ended = stage.run("-p", "plugin", "-p", "no:cacheprovider")
    assert (ended.exit, ended.counts) == (0, {"passed": 1})
    assert "spawned" not in ended.text


@pytest.mark.parametrize("hook", ["pytest_sessionstart", "pytest_sessionfinish"])
def test_a_single_session_hook_is_fine(stage: Stage, hook: str) -> None:
    stage.write(
        conftest=f"def {hook}(session): pass",
        test_a="def test_a(): note('ran a')",
    )
    ended = stage.run()
    assert ended.exit == 0
    assert "spawned" not in ended.text


# --- what can be shared ---------------------------------------------------------------------------

HARMLESS = {
    "a thread that has ended": """
        import threading
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    """,
    "a pool of threads that was shut down": """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor() as pool: pool.submit(int)
    """,
    "a child process that has ended": """
        import subprocess
        subprocess.run([sys.executable, "-c", ""])
    """,
    "a child process that nobody has waited for": """
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "print()"], stdout=subprocess.PIPE)
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    """,
    "an unconnected socket": "import socket\ns = socket.socket()",
    "a socket for datagrams": """
        import socket
        s = socket.socket(type=socket.SOCK_DGRAM)
        s.connect(("127.0.0.1", 9))
    """,
    "a closed socket": 'import socket\ns = socket.create_server(("127.0.0.1", 0))\ns.close()',
    "a closed event loop": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "a database in memory": """
        import sqlite3
        db = sqlite3.connect(":memory:")
        with db: db.execute("CREATE TABLE t (n)")
    """,
    "a database that was closed": """
        import sqlite3
        db = sqlite3.connect("data.db")
        with db: db.execute("CREATE TABLE t (n)")
        db.close()
    """,
    "an empty file": "import sqlite3\nfile = open('new', 'w+')",
    "a pipe": "ends = os.pipe()",
    "a lock": "import threading\nlock = threading.RLock()",
    "queues and semaphores": """
        import multiprocessing, queue
        q, m = queue.Queue(), multiprocessing.get_context("fork").Semaphore()
    """,
    "a mapped file": "import mmap\nmemory = mmap.mmap(-1, 4096)",
}


@pytest.mark.parametrize("thing", HARMLESS)
def test_what_copies_can_share_is_no_reason(stage: Stage, thing: str) -> None:
    stage.write(test_a=HARMLESS[thing], test_b="def test_b(): pass")
    with (stage.path / "test_a.py").open("a") as file:
        file.write("\ndef test_a(): pass\n")
    ended = stage.run()
    assert (ended.exit, ended.counts) == (0, {"passed": 2}), ended.errors
    assert "spawned" not in ended.text


@needs_numpy
def test_numpy_s_threads_are_no_reason_and_it_computes_in_workers(stage: Stage) -> None:
    stage.write(
        test_a="""
        import numpy
        a = numpy.ones((500, 500))
        b = a @ a
        @pytest.mark.parametrize("n", range(4))
        def test_a(n): assert (a @ a == b).all()
        """
    )
    ended = stage.run()
    assert (ended.exit, ended.counts) == (0, {"passed": 4})
    assert "spawned" not in ended.text


def test_children_of_the_shell_that_became_pytest_are_not_the_session_s(stage: Stage) -> None:
    stage.write(test_a="def test_a(): pass")
    run = stage.prepare()
    run.gate("sibling")
    run.precede_with(f"{sys.executable} -c \"from e2e_notes import hold; hold('sibling')\" &")
    run.start()
    run.expect("holding sibling")
    assert run.await_end() == 0
    run.release("sibling")
    run.end()


def test_a_connection_used_in_tests_works_where_it_is_made_in_a_fixture(stage: Stage) -> None:
    """The way out that the refusal names."""
    stage.write(
        conftest="""
        import asyncio, sqlite3
        @pytest.fixture(scope="session")
        def loop():
            loop = asyncio.new_event_loop()
            yield loop
            loop.close()
        @pytest.fixture(scope="session")
        def db(tmp_path_factory):
            with sqlite3.connect(tmp_path_factory.mktemp("db") / "data.db") as db:
                db.execute("CREATE TABLE t (n)")
                yield db
        """,
        test_a="""
        import asyncio
        @pytest.mark.parametrize("n", range(10))
        def test_a(db, loop, n):
            db.execute("INSERT INTO t VALUES (?)", (n,))
            assert loop.run_until_complete(asyncio.sleep(0, n)) == n
        """,
    )
    assert stage.run().counts == {"passed": 10}


def test_a_log_file_opened_at_import_has_the_lines_of_all_workers(stage: Stage) -> None:
    stage.write(
        conftest="""
        import logging
        logging.basicConfig(filename="all.log", level="INFO", format="%(message)s")
        """,
        test_a="""
        import logging
        @pytest.mark.parametrize("n", range(100))
        def test_a(n): logging.info("line %d %s", n, "x" * 200)
        """,
    )
    assert stage.run().counts == {"passed": 100}
    lines = (stage.path / "all.log").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(f"line {n} {'x' * 200}" for n in range(100))


def test_what_was_buffered_before_the_fork_is_written_once(stage: Stage) -> None:
    stage.write(
        test_a="""
        file = open("written", "w")
        file.write("once\\n")
        @pytest.mark.parametrize("n", range(4))
        def test_a(n): pass
        """
    )
    assert stage.run(workers=3).counts == {"passed": 4}
    assert (stage.path / "written").read_text(encoding="utf-8") == "once\n"


# --- chance ---------------------------------------------------------------------------------------

DRAWS = """
    import random
    {}
    @pytest.mark.parametrize("n", range(2))
    def test_draws(n):
        note("drawn", random.random())
        hold("draws")
"""


def drawn(stage: Stage, *lines: str, workers: int = 2) -> list[float]:
    """What two tests draw at once, each as the first in its worker."""
    stage.write(test_a=DRAWS.format("\n    ".join(lines)))
    run = stage.start(gates=("draws",), workers=workers)
    run.expect("holding draws", "holding draws")
    for _ in range(2):
        run.release("draws")
    assert run.end().exit == 0
    return [float(text) for text in run.noted("drawn")]


def test_workers_draw_different_numbers(stage: Stage) -> None:
    first, second = drawn(stage)
    assert first != second


@pytest.mark.parametrize("draws", [1, 1000, 100_000])
def test_numbers_drawn_at_import_seed_nothing(stage: Stage, draws: int) -> None:
    first, second = drawn(stage, f"for _ in range({draws}): random.random()")
    assert first != second


def test_a_seed_set_at_import_holds_in_each_worker(stage: Stage) -> None:
    expected = random.Random(7)
    expected.random()
    assert set(drawn(stage, "random.seed(7)", "random.random()")) == {expected.random()}


def test_a_seed_set_in_a_conftest_holds_in_each_worker(stage: Stage) -> None:
    stage.write(conftest="import random\nrandom.seed(7)")
    assert set(drawn(stage)) == {random.Random(7).random()}


@needs_numpy
def test_numpy_s_seed_set_at_import_holds_in_each_worker(stage: Stage) -> None:
    seeding = ("import numpy", "numpy.random.seed(7)", "random.random = numpy.random.rand")
    assert set(drawn(stage, *seeding)) == {0.07630828937395717}


# --- what begins before the workers and ends after them -------------------------------------------


def test_a_temporary_directory_made_at_import_is_there_until_the_end(stage: Stage) -> None:
    stage.write(
        test_a="""
        import tempfile
        folder = tempfile.TemporaryDirectory()
        note("folder", folder.name)
        @pytest.mark.parametrize("n", range(20))
        def test_a(n):
            assert os.path.isdir(folder.name)
            open(f"{folder.name}/{n}", "w").close()
            if n in (3, 11): os._exit(1)
        """,
        test_b="""
        def test_last():
            hold("last")
            import test_a
            assert os.path.isdir(test_a.folder.name)
        """,
    )
    run = stage.start(gates=("last",))
    run.expect("holding last")
    run.release("last")
    ended = run.end()
    assert ended.counts == {"passed": 19, "failed": 2}
    (folder,) = run.noted("folder")
    assert not (stage.path / folder).exists()


def test_exit_callbacks_and_finalizers_run_once_where_they_were_registered(stage: Stage) -> None:
    stage.write(
        test_a="""
        import atexit, weakref
        class Thing: pass
        thing = Thing()
        atexit.register(lambda: note("exit of", os.environ["PYTEST_XDIST_WORKER"], os.getpid()))
        weakref.finalize(thing, lambda: note("end of thing", os.getpid()))
        note("made in", os.getpid())
        @pytest.mark.parametrize("n", range(2))
        def test_a(n):
            atexit.register(note, "own exit", n)
            hold("both")
        """
    )
    run = stage.start(gates=("both",))
    run.expect("holding both", "holding both")
    run.release("both")
    run.release("both")
    ended = run.end()
    assert ended.counts == {"passed": 2}
    (zygote,) = run.noted("made in")
    assert run.noted("end of thing") == [zygote]
    assert [text.split()[1] for text in run.noted("exit of")] == [zygote]
    assert sorted(run.noted("own exit")) == ["0", "1"]
    assert ended.notes[-1].startswith(("exit of", "end of thing"))


def test_what_a_worker_registers_for_its_exit_is_not_cut_short(stage: Stage) -> None:
    """It has said goodbye by then, and the zygote, whose end is its own, waits for it."""
    stage.write(
        test_a="""
        import atexit
        def test_a():
            atexit.register(lambda: (hold("exit"), note("done")))
        """
    )
    run = stage.start(gates=("exit",))
    run.expect("holding exit")
    run.release("exit")
    ended = run.end()
    assert ended.exit == 0
    assert "done" in ended.notes


def test_a_directory_made_in_configure_and_removed_in_unconfigure(stage: Stage) -> None:
    stage.write(
        conftest="""
        import pathlib, shutil
        FOLDER = pathlib.Path(__file__).parent / "made"
        def pytest_configure(config): FOLDER.mkdir(exist_ok=True)
        def pytest_unconfigure(config): shutil.rmtree(FOLDER, ignore_errors=True)
        """,
        test_a="""
        from conftest import FOLDER
        @pytest.mark.parametrize("n", range(20))
        def test_a(n):
            assert FOLDER.is_dir()
            if n in (3, 11): os._exit(1)
        """,
    )
    ended = stage.run()
    assert ended.counts == {"passed": 18, "failed": 2}
    assert not (stage.path / "made").exists()


def test_hooks_of_begin_and_end_are_called_in_their_processes(stage: Stage) -> None:
    """The ledger of DESIGN.md, section 2: hook x process."""
    hooks = ("configure", "unconfigure", "sessionfinish", "collection_finish")
    stage.write(
        conftest="".join(
            f"def pytest_{hook}():\n    note('{hook}', os.getpid(), os.getppid())\n"
            for hook in hooks
        ),
        test_a="""
        def test_a(): note("worker", os.getpid(), os.getppid()); hold("both")
        def test_b(): note("worker", os.getpid(), os.getppid()); hold("both")
        def test_c(): note("worker", os.getpid(), os.getppid()); os._exit(1)
        """,
    )
    run = stage.start(gates=("both",))
    run.expect("holding both", "holding both")
    run.release("both")
    run.release("both")
    ended = run.end()
    assert ended.counts == {"passed": 2, "failed": 1}
    controller = str(run.process.pid)
    (zygote,) = {line.split()[1] for line in run.noted("worker")}
    crashed = run.noted("worker")[-1].split()[0]
    workers = {line.split()[0] for line in run.noted("worker")} - {crashed}
    calls = {hook: Counter(line.split()[0] for line in run.noted(hook)) for hook in hooks}
    assert calls["configure"] == calls["unconfigure"] == Counter([controller, zygote])
    assert calls["collection_finish"] == Counter([zygote])
    assert calls["sessionfinish"] <= Counter([controller, *workers])
    assert calls["sessionfinish"][controller] == 1
