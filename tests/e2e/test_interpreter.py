"""What modules do to the interpreter when imported is in every worker as in a serial run."""

from __future__ import annotations

import gc

import pytest

from tests.e2e.serial import Suite


@pytest.mark.parametrize("where", ["module", "conftest", "configure"])
def test_random_seeded_before_the_tests_stays_seeded(suite: Suite, where: str) -> None:
    seed = "import random\nrandom.seed(7)"
    if where == "conftest":
        suite.conftest(seed)
    elif where == "configure":
        suite.conftest("import random\ndef pytest_configure(config): random.seed(7)")
    suite.write(
        test_a=f"""
        {seed if where == "module" else "import random"}
        EXPECTED = random.Random(7)
        def test_1(record_property):
            record_property("n", random.random())
            assert random.random() >= 0
        """.replace("\n", "\n        ").replace("\n                ", "\n        ")
    )
    serial, braid = suite.serial(), suite.braid(workers=1)
    assert braid.exit == 0, braid.text
    assert values(serial.record_of("logreport")) == values(braid.record_of("logreport"))


def values(reports: list[dict[str, object]]) -> list[object]:
    return [f["user_properties"] for f in reports if f["when"] == "call"]


def test_every_worker_begins_with_the_seeded_state(suite: Suite) -> None:
    suite.write(
        test_a="""
        import random, pytest
        random.seed(7)
        STATE = random.getstate()
        FIRST = [True]
        @pytest.mark.parametrize("n", range(8))
        def test_1(n):
            if FIRST.pop():
                assert random.getstate() == STATE
            FIRST.append(False)
            random.random()
        """
    )
    run = suite.braid()
    assert run.exit == 0, run.text


def test_random_that_was_only_drawn_from_differs_between_workers(suite: Suite) -> None:
    suite.conftest("import random\nrandom.random()")
    suite.write(
        test_a="""
        import random, pytest
        random.shuffle([*range(1000)])
        @pytest.mark.parametrize("n", range(8))
        def test_1(n, record_property): record_property("n", random.random())
        """
    )
    seen = [str(value) for value in values(suite.braid().record_of("logreport"))]
    assert len(set(seen)) == 8


def test_a_stream_handler_of_a_conftest_writes_into_each_tests_own_output(suite: Suite) -> None:
    suite.conftest(
        """
        import logging, sys
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("handled: %(message)s"))
        logging.getLogger("mine").addHandler(handler)
        logging.getLogger("mine").setLevel("INFO")
        stdout = sys.stdout
        """
    )
    suite.write(
        test_a="""
        import logging, sys, pytest
        from conftest import stdout
        AT_IMPORT = sys.stdout
        @pytest.mark.parametrize("n", range(10))
        def test_1(n):
            logging.getLogger("mine").info("record %d", n)
            stdout.write(f"kept by conftest {n}\\n")
            AT_IMPORT.write(f"kept by the module {n}\\n")
            print("plain", n)
            assert n % 3
        """
    )
    suite.same("-rA")


def test_state_of_modules_is_that_of_the_import(suite: Suite) -> None:
    suite.write(
        state="""
        import contextvars, threading
        VARIABLE = contextvars.ContextVar("v", default=0)
        LOCAL = threading.local()
        LOCK = threading.RLock()
        CACHE = {}
        """,
        test_a="""
        import pytest, state
        state.VARIABLE.set(3)
        state.LOCAL.value = 4
        state.CACHE["k"] = 5
        @pytest.mark.parametrize("n", range(6))
        def test_1(n):
            assert (state.VARIABLE.get(), state.LOCAL.value, state.CACHE) == (3, 4, {"k": 5})
            with state.LOCK: pass
        """,
    )
    suite.ini("pythonpath = .")
    suite.same()


def test_modules_are_imported_once_for_all_workers(suite: Suite) -> None:
    log = suite.base / "imports"
    note = f"with open({str(log)!r}, 'a') as file: file.write(__name__ + ' ')\n"
    suite.conftest(note)
    suite.write(
        test_a=note + "import pytest\n@pytest.mark.parametrize('n', range(8))\ndef test_1(n): pass"
    )
    suite.braid(workers=4)
    assert sorted(log.read_text().split()) == ["conftest", "test_a"]


@pytest.mark.parametrize("options", [(), ("--threads=1",), ("--start-method=spawn",)], ids=str)
def test_what_tests_import_and_leave_in_a_worker_is_collected_as_ever(
    suite: Suite, options: tuple[str, ...]
) -> None:
    suite.ini("pythonpath = .")
    suite.write(
        late="class Late:\n    def itself(self): return Late",
        test_a="""
        import gc, importlib, sys, weakref
        LATE = []
        def test_import():
            late = importlib.import_module("late")
            LATE.extend(map(weakref.ref, (late, late.Late)))
            del sys.modules["late"]
        def test_collect():
            assert (gc.isenabled(), gc.get_threshold()) == (True, THRESHOLD)
            gc.collect()
            assert [each() for each in LATE] == [None, None]
        """.replace("THRESHOLD", str(gc.get_threshold())),
    )
    run = suite.braid(*options, workers=1)
    assert run.exit == 0, run.text


def test_what_has_been_collected_is_not_looked_through_again(suite: Suite) -> None:
    """By the garbage collector: a full collection is the last that meets what was there."""
    suite.write(
        test_a="""
        import gc, weakref
        class Node:
            def __init__(self):
                self.itself = self
        KEPT = [Node() for _ in range(1000)]
        BEFORE, GARBAGE = gc.get_freeze_count(), weakref.ref(Node())
        gc.collect()
        def test_1(): pass
        """,
        test_b="""
        import gc, test_a
        FROZEN = gc.get_freeze_count() - test_a.BEFORE
        LATER = [test_a.Node() for _ in range(1000)]
        NOW = gc.get_freeze_count() - test_a.BEFORE
        def test_2(): assert (FROZEN >= 1000, FROZEN == NOW, test_a.GARBAGE()) == (True, True, None)
        """,
    )
    run = suite.braid(workers=1)
    assert run.exit == 0, run.text


def test_threads_and_children_of_a_test_are_its_own(suite: Suite) -> None:
    suite.write(
        test_a="""
        import concurrent.futures, multiprocessing, os, subprocess, sys, threading, pytest
        def square(n): return n * n
        @pytest.mark.parametrize("method", ["fork", "spawn"])
        def test_processes(method):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
        def test_threads():
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                assert [*pool.map(square, range(5))] == [0, 1, 4, 9, 16]
        def test_executor():
            with concurrent.futures.ProcessPoolExecutor(2) as pool:
                assert [*pool.map(square, range(5))] == [0, 1, 4, 9, 16]
        def test_subprocess():
            assert subprocess.check_output([sys.executable, "-c", "print(3)"]) == b"3\\n"
        def test_fork():
            pid = os.fork()
            if pid == 0: os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        def test_daemon():
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
        test_b="""
        import asyncio, signal, socket, sqlite3, pytest
        def test_loop():
            async def go():
                process = await asyncio.create_subprocess_exec("true")
                return await process.wait()
            assert asyncio.run(go()) == 0
        def test_sqlite(): assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
        def test_signal():
            seen = []
            old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            signal.pause()
            signal.signal(signal.SIGALRM, old)
            assert seen == [1]
        def test_keyboard_interrupt_by_hand():
            with pytest.raises(KeyboardInterrupt): signal.raise_signal(signal.SIGINT)
        """,
    )
    suite.same("-p", "no:warnings")
