"""``mp_lock``, ``mp_message_board`` and ``mp_trail``, in every kind of run."""

from __future__ import annotations

import pytest

from tests.e2e.running import Stage

every_run = pytest.mark.parametrize(
    "options",
    [["-n2"], ["-n2", "--threads=2"], ["-n2", "--start-method=spawn"], ["--mp", "--np=2"], ["-n0"]],
    ids=["processes", "threads", "spawned", "mp", "none"],
)


def passes(stage: Stage, source: str, options: list[str], **counts: int) -> None:
    stage.write(test_a=source)
    run = stage.run(*options, workers=None)
    assert run.counts == (counts or {"passed": 1}), run.text
    assert run.exit == (1 if "failed" in counts else 0)


@every_run
def test_the_lock_keeps_others_out(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
        @pytest.mark.parametrize("n", range(6))
        def test_n(n, mp_lock, mp_message_board):
            for _ in range(10):
                with mp_lock:
                    mp_message_board["sum"] = mp_message_board.get("sum", 0) + 1
            assert mp_message_board["sum"] >= 10
        """,
        options,
        passed=6,
    )


@every_run
def test_several_threads_of_a_test_may_ask(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
        import threading
        def test_it(mp_lock, mp_message_board):
            def add():
                for _ in range(20):
                    with mp_lock:
                        mp_message_board["sum"] = mp_message_board.get("sum", 0) + 1
            threads = [threading.Thread(target=add) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert mp_message_board["sum"] == 80
        """,
        options,
    )


@every_run
def test_the_lock_is_as_that_of_threading(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
        def test_it(mp_lock):
            with pytest.raises(RuntimeError, match="release unlocked lock: nobody holds mp_lock"):
                mp_lock.release()
            assert mp_lock.acquire()
            assert not mp_lock.acquire(blocking=False)
            assert not mp_lock.acquire(timeout=0.01)
            mp_lock.release()
            assert mp_lock.acquire(timeout=5)
            mp_lock.release()
        """,
        options,
    )


@every_run
def test_the_board_is_a_dictionary(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
        def test_it(mp_message_board):
            board = mp_message_board
            assert not board and len(board) == 0 and board.get("a") is None
            with pytest.raises(KeyError): board["a"]
            with pytest.raises(KeyError): del board["a"]
            with pytest.raises(KeyError): board.popitem()
            with pytest.raises(TypeError): board[[]] = 1
            board["a"] = [1]
            board["a"].append(2)
            assert board["a"] == [1], "what it gives is a copy"
            one, other = "".join(["x", "y"]), "".join(["x", "y"])
            board[(one, one)] = 1
            assert (one, other) in board and (other, "xy") in board
            board[True] = "one"
            assert board[1] == board[1.0] == "one"
            assert board.setdefault("a", 9) == [1] and board.setdefault("b", 9) == 9
            assert board.pop("b") == 9 and board.pop("b", 3) == 3
            assert list(board) == board.keys() == ["a", ("xy", "xy"), 1]
            assert board.values() == [[1], 1, "one"]
            assert dict(board.items()) == board.copy() == {"a": [1], ("xy", "xy"): 1, 1: "one"}
            assert board.popitem() == (1, "one")
            board.update(c=1)
            assert "c" in repr(board)
            board["large"] = "x" * 3_000_000
            assert len(board["large"]) == 3_000_000
            board.clear()
            assert not board.copy()
        """,
        options,
    )


@every_run
def test_a_trail_counts_who_is_on_it(stage: Stage, options: list[str]) -> None:
    passes(
        stage,
        """
        def test_it(mp_trail, mp_lock):
            with mp_trail("T") as first:
                assert first
                with mp_lock: pass
                with mp_trail("U", "start") as first_of_another: assert first_of_another
            with mp_trail("T") as second: assert not second
            with mp_trail("T", "finish") as last: assert not last
            with mp_trail("T", "finish") as last: assert last
            with mp_trail("T") as again: assert again
            with pytest.raises(ZeroDivisionError):
                with mp_trail("T"): 1 / 0
            with pytest.raises(ZeroDivisionError):
                with mp_trail("T", "finish") as last:
                    assert last
                    1 / 0
            with pytest.raises(RuntimeError) as error:
                with mp_trail("T", "finish"): pass
            assert str(error.value) == (
                "mp_trail('T', \\"finish\\"): nobody is on this trail. Each finish needs a start "
                "before it that has not failed: with mp_trail('T', \\"start\\")"
            )
            with pytest.raises(ValueError) as error:
                mp_trail("T", "go")
            assert str(error.value) == 'mp_trail state must be "start" or "finish": \\'go\\''
        """,
        options,
    )


@pytest.mark.parametrize("options", [["-n2"], ["--mp", "--np=2"]])
def test_the_lock_of_a_dead_holder_goes_to_the_next_who_is_told(
    stage: Stage, options: list[str]
) -> None:
    stage.write(
        test_a="""
        def test_1(mp_lock):
            mp_lock.acquire()
            hold("a")
            os.kill(os.getpid(), signal.SIGKILL)
        def test_2(mp_lock):
            hold("b")
            with pytest.warns(pytest.PytestWarning) as told:
                with mp_lock: pass
            note("told", told[0].message)
        """
    )
    running = stage.prepare(*options, workers=None)
    running.gate("a", "b")
    running.start()
    running.expect("holding a", "holding b")  # or the second could have it before the first
    running.release("b")
    running.release("a")
    run = running.end()
    assert run.counts == {"passed": 1, "failed": 1}
    (text,) = (line for line in run.notes if line.startswith("told"))
    assert "mp_lock: the last to hold it is gone: worker 'gw" in text
    assert "crashed while it held it, in 'test_a.py::test_1': its process was killed by" in text
    assert text.endswith("What it protects may be half done.")


def test_a_dead_consumer_has_finished(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1(mp_trail):
            with mp_trail("T") as first: assert first
            os.kill(os.getpid(), signal.SIGKILL)
        def test_2(mp_trail):
            with mp_trail("T") as first: assert first
            with mp_trail("T", "finish") as last: assert last
        """
    )
    run = stage.run(workers=1)
    assert (run.exit, run.counts) == (1, {"passed": 1, "failed": 1})


def test_one_started_trail_may_be_finished_by_another_process(stage: Stage) -> None:
    passes(
        stage,
        """
        pytestmark = pytest.mark.mp_group("g", "free")
        def test_1(mp_trail):
            with mp_trail("T") as first: assert first
        def test_2(mp_trail):
            with mp_trail("T", "finish") as last: assert last
        """,
        ["--mp", "--np=1"],
        passed=2,
    )


def test_a_copy_that_a_test_has_forked_is_told_that_it_cannot_ask(stage: Stage) -> None:
    passes(
        stage,
        """
        def test_it(mp_lock):
            child = os.fork()
            if not child:
                try: mp_lock.acquire()
                except RuntimeError as error: note(error)
                os._exit(0)
            os.waitpid(child, 0)
            with mp_lock: pass
        """,
        ["-n1"],
    )


def test_who_is_interrupted_waits_no_longer(stage: Stage) -> None:
    """A time-out by a signal, as pytest-timeout's: the lock that comes afterwards goes back."""
    passes(
        stage,
        """
        import threading
        def test_it(mp_lock):
            mp_lock.acquire()
            def alarm(*_): raise TimeoutError
            signal.signal(signal.SIGALRM, alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError): mp_lock.acquire()
            mp_lock.release()
            assert mp_lock.acquire(timeout=10)
            mp_lock.release()
        """,
        ["-n1"],
    )
