"""``pytest_braid.Lock`` excludes tasks, threads and processes of one run, in every kind of run."""

from __future__ import annotations

import pytest

from tests.e2e.running import Stage

every_run = pytest.mark.parametrize(
    "options",
    [
        ["-n2"],
        ["-n2", "--threads=2"],
        ["-n2", "--start-method=spawn"],
        ["-n0", "--threads=2"],
        ["-n0"],
        [],
    ],
    ids=["processes", "threads", "spawned", "local threads", "none", "plain"],
)


def passes(stage: Stage, source: str, options: list[str], **counts: int) -> None:
    stage.write(test_a="import asyncio, threading\nfrom pytest_braid import Lock\n" + source)
    run = stage.run(*options, workers=None)
    assert run.counts == (counts or {"passed": 1}), run.text
    assert run.exit == (1 if "failed" in counts else 0)


SUM = """
def add(board):
    value = board.get("sum", 0)
    board["sum"] = value + 1

@pytest.mark.parametrize("n", range(4))
def test_n(n, mp_message_board):
    board = mp_message_board
    async def task():
        for _ in range(10):
            async with Lock("sum"):
                value = board.get("sum", 0)
                await asyncio.sleep(0)
                board["sum"] = value + 1
    async def tasks():
        await asyncio.gather(task(), task())
    def thread():
        for _ in range(10):
            with Lock("sum"):
                add(board)
    other = threading.Thread(target=thread)
    other.start()
    asyncio.run(tasks())
    other.join()
    with Lock("sum"):
        board["over"] = board.get("over", 0) + 1
        if board["over"] == 4:
            assert board["sum"] == 4 * 30
"""


@every_run
def test_tasks_threads_and_processes_keep_each_other_out(stage: Stage, options: list[str]) -> None:
    passes(stage, SUM, options, passed=4)


@pytest.mark.parametrize("options", [["-n2", "--tasks=5"], ["-n0", "--tasks=5"], ["--tasks=5"]])
def test_tests_that_run_as_tasks_keep_each_other_out_in_sync_fixtures_too(
    stage: Stage, options: list[str]
) -> None:
    passes(
        stage,
        """
@pytest.fixture
def sync_locked():
    with Lock("sum"): yield
@pytest.fixture
async def locked():
    async with Lock("sum"): yield
async def add(board, *mine):
    value = board.get("sum", 0)
    await asyncio.sleep(0.01)
    board["sum"] = value + 1
    board[mine] = True
    assert board["sum"] == len(board) - 1
@pytest.mark.parametrize("n", range(6))
async def test_sync(n, sync_locked, mp_message_board): await add(mp_message_board, "sync", n)
@pytest.mark.parametrize("n", range(6))
async def test_async(n, locked, mp_message_board): await add(mp_message_board, "async", n)
@pytest.mark.parametrize("n", range(6))
async def test_body(n, mp_message_board):
    async with Lock("sum"): await add(mp_message_board, "body", n)
    with Lock("sum"): await add(mp_message_board, "sync body", n)
async def test_again(locked):
    with pytest.raises(RuntimeError, match="is held by this task already"):
        async with Lock("sum"): pass
""",
        options,
        passed=19,
    )


def test_without_braid_it_still_excludes(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        from pytest_braid import Lock
        found = []
        async def task(n):
            async with Lock("l"):
                found.append(n)
                await asyncio.sleep(0)
                found.append(n)
        def test_it():
            async def tasks():
                await asyncio.gather(task(1), task(2))
            asyncio.run(tasks())
            assert found == [1, 1, 2, 2]
        """
    )
    run = stage.serial()
    assert run.counts == {"passed": 1}, run.text


@every_run
def test_whoever_has_it_cannot_take_it_again_and_is_told(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
def again(kind):
    return (
        f"pytest_braid.Lock('l') is held by this {kind} already, which would wait for itself: "
        "take it once, around all that needs it"
    )

def test_it():
    lock = Lock("l")
    with lock, pytest.raises(RuntimeError) as told:
        Lock("l").__enter__()
    assert str(told.value) == again("thread")
    async def task():
        async with lock:
            with pytest.raises(RuntimeError) as told:
                await Lock("l").__aenter__()
        assert str(told.value) == again("task")
        async with lock: pass
    asyncio.run(task())
    with lock: pass
""",
        options,
    )


def test_a_loop_that_would_wait_for_itself_is_told(stage: Stage) -> None:
    passes(
        stage,
        """
def test_it():
    lock = Lock("l")
    async def blocking():
        with pytest.raises(RuntimeError) as told:
            lock.__enter__()
        assert str(told.value) == (
            "pytest_braid.Lock('l'): another task of this event loop has it or is next, and could "
            "not go on while 'with' waits: write 'async with'"
        )
    async def main():
        async with lock:
            await asyncio.create_task(blocking())
        with lock:
            waiting = asyncio.create_task(lock.__aenter__())
            await asyncio.sleep(0)
        await asyncio.create_task(blocking())
        await waiting
        await lock.__aexit__()
    asyncio.run(main())
""",
        ["-n1"],
    )


def test_a_loop_that_a_thread_may_wait_for_is_told(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio, threading
        from pytest_braid import Lock
        lock = Lock("l")
        async def test_it():
            loop, has = asyncio.get_running_loop(), asyncio.Event()
            def work():
                with lock:
                    loop.call_soon_threadsafe(has.set)
                    asyncio.run_coroutine_threadsafe(end.wait(), loop).result()
            async def blocking():
                with lock: pass
            end, thread = asyncio.Event(), threading.Thread(target=work)
            thread.start()
            await has.wait()
            with pytest.raises(RuntimeError) as told: await asyncio.create_task(blocking())
            assert str(told.value) == (
                "pytest_braid.Lock('l'): another test of this process has it or is next, and "
                "may need this event loop, which could not go on while 'with' waits in a task "
                "that a test has started: write 'async with'"
            )
            end.set()
            await asyncio.to_thread(thread.join)
            await asyncio.create_task(blocking())
        """
    )
    for options in ([], ["-n0"]):
        assert stage.run("--tasks=1", *options, workers=1).counts == {"passed": 1}


def test_words_for_misuse(stage: Stage) -> None:
    passes(
        stage,
        """
def test_it():
    with pytest.raises(TypeError) as told: Lock(3)
    assert str(told.value) == "the name of a pytest_braid.Lock is a text, and not 3"
    with pytest.raises(RuntimeError) as told:
        Lock("l").__aenter__().send(None)
    assert str(told.value) == (
        "pytest_braid.Lock('l'): 'async with' needs a running event loop of asyncio, and none runs "
        "here"
    )
""",
        [],
    )


@every_run
def test_whoever_is_cancelled_gives_up_its_place_or_the_lock(
    stage: Stage, options: list[str]
) -> None:
    passes(
        stage,
        """
def test_it():
    async def hold(lock, has, end):
        async with lock:
            has.set()
            await end.wait()
    async def main():
        lock, has, end = Lock("l"), asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(lock, has, end))
        await has.wait()
        waiting = [asyncio.create_task(hold(lock, asyncio.Event(), end)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError): await waiting[0]
        holder.cancel()
        with pytest.raises(asyncio.CancelledError): await holder
        end.set()
        await waiting[1]
        async with lock: pass
    asyncio.run(main())
    with Lock("l"): pass
""",
        options,
    )


@every_run
def test_whoever_is_cancelled_in_the_moment_of_getting_it_gives_it_back(
    stage: Stage, options: list[str]
) -> None:
    passes(
        stage,
        """
def test_it():
    async def take():
        async with Lock("l"): pass
    async def main():
        for turns in range(20):
            task = asyncio.create_task(take())
            for _ in range(turns): await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            async with Lock("l"): pass
    asyncio.run(main())
""",
        options,
    )


def test_a_loop_that_is_closed_in_the_middle_gives_it_back(stage: Stage) -> None:
    passes(
        stage,
        """
import gc
@pytest.mark.filterwarnings("ignore")
def test_it():
    async def hold():
        async with Lock("l"): await asyncio.sleep(100)
    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0.05))
    waiting = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0.05))
    task._log_destroy_pending = waiting._log_destroy_pending = False
    loop.close()
    del task, waiting
    gc.collect()
    with Lock("l"): pass
""",
        ["-n1"],
    )


def test_the_lock_of_a_dead_process_goes_to_the_next_who_is_told(stage: Stage) -> None:
    stage.write(
        test_a="""
        import asyncio
        from pytest_braid import Lock
        def test_1():
            with Lock("l"):
                hold("a")
                os.kill(os.getpid(), signal.SIGKILL)
        def test_2():
            async def main():
                with pytest.warns(pytest.PytestWarning) as told:
                    async with Lock("l"): pass
                note("told", told[0].filename == __file__, told[0].message)
            hold("b")
            asyncio.run(main())
        """
    )
    running = stage.prepare()
    running.gate("a", "b")
    running.start()
    running.expect("holding a", "holding b")
    running.release("b")
    running.release("a")
    run = running.end()
    assert run.counts == {"passed": 1, "failed": 1}
    (text,) = (line for line in run.notes if line.startswith("told"))
    assert text.startswith("told True l: the last to hold it is gone: worker 'gw")
    assert text.endswith("What it protects may be half done.")


def test_no_thread_is_left_of_who_has_waited(stage: Stage) -> None:
    """One that forks would be warned of it (Python 3.12 and newer)."""
    passes(
        stage,
        """
@pytest.mark.filterwarnings("error")
def test_it(mp_lock):
    def threads(): return len(os.listdir("/proc/self/task"))
    before = threads()
    async def main():
        with mp_lock:
            pass
        async with Lock("l"):
            waiting = asyncio.create_task(Lock("l").__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
    asyncio.run(main())
    while threads() > before: os.sched_yield()
    if not os.fork(): os._exit(0)
    os.wait()
""",
        ["-n1"],
    )


def test_a_copy_that_a_test_has_forked_neither_takes_it_nor_gives_it_back(stage: Stage) -> None:
    passes(
        stage,
        """
def test_it():
    try:
        with Lock("l"):
            child = os.fork()
            if not child:
                raise ZeroDivisionError
            os.waitpid(child, 0)
            async def other():
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05), Lock("l"): note("taken")
            asyncio.run(other())
    except ZeroDivisionError:
        try:
            with Lock("m"): pass
        except RuntimeError as error: note(error)
        os._exit(0)
""",
        ["-n1"],
    )


WAITS = """
import time
@pytest.mark.timeout(0)
def test_1():
    with Lock("l"):
        hold("a")
        time.sleep(2.5)
@pytest.mark.timeout(2)
def test_2():
    hold("b")
    with Lock("l"): pass
"""


def test_the_wait_for_a_running_test_is_not_of_the_time_that_one_has(stage: Stage) -> None:
    stage.write(test_a="from pytest_braid import Lock\n" + WAITS)
    running = stage.prepare("-n2", workers=None)
    running.gate("a", "b")
    running.start()
    running.expect("holding a", "holding b")
    running.release("b")
    running.release("a")
    run = running.end()
    assert run.counts == {"passed": 2}, run.text


def test_so_it_is_for_one_in_another_thread(stage: Stage) -> None:
    stage.write(
        test_a="""
        import threading, time
        from pytest_braid import Lock
        has_it = threading.Event()
        @pytest.mark.timeout(0)
        def test_1():
            with Lock("l"):
                has_it.set()
                time.sleep(2.5)
        @pytest.mark.timeout(2)
        def test_2():
            has_it.wait()
            with Lock("l"): pass
        """
    )
    run = stage.run("--threads=2", workers=1)
    assert run.counts == {"passed": 2}, run.text
    assert "2 of 2 tests ran in threads" in run.text


def test_those_who_wait_for_each_other_have_no_more_time_than_ever(stage: Stage) -> None:
    stage.write(
        test_a="""
        from pytest_braid import Lock
        @pytest.mark.timeout(1)
        def test_1():
            with Lock("l"):
                hold("a")
                with Lock("m"): pass
        @pytest.mark.timeout(1)
        def test_2():
            with Lock("m"):
                hold("b")
                with Lock("l"): pass
        """
    )
    running = stage.prepare()
    running.gate("a", "b")
    running.start()
    running.expect("holding a", "holding b")
    running.release("a")
    running.release("b")
    run = running.end()
    assert run.counts in ({"passed": 1, "failed": 1}, {"failed": 2}), run.text
    assert "Timeout" in run.text
