"""Who has a lock and who is next, who is on a trail, what is on the board."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.model import board as b
from pytest_braid.schedule.board import Asking, Board, Reply


def test_a_lock_goes_to_those_who_wait_in_their_order() -> None:
    board = Board()
    assert board.handle(0, b.Acquire(1, "l", True)) == [Reply(0, b.Answer(1))]
    assert board.handle(1, b.Acquire(1, "l", True)) == []
    assert board.handle(2, b.Acquire(1, "l", True)) == []
    assert board.handle(3, b.Acquire(1, "l", False)) == [Reply(3, b.Answer(1, ok=False))]
    assert board.handle(0, b.Release(2, "l")) == [Reply(0, b.Answer(2)), Reply(1, b.Answer(1))]
    assert board.handle(1, b.Release(2, "l")) == [Reply(1, b.Answer(2)), Reply(2, b.Answer(1))]
    assert board.handle(2, b.Release(2, "l")) == [Reply(2, b.Answer(2))]
    assert board.handle(2, b.Release(3, "l")) == [Reply(2, b.Answer(3, ok=False))]


def test_locks_of_different_names_do_not_exclude_each_other() -> None:
    board = Board()
    assert board.handle(0, b.Acquire(1, "l", True))
    assert board.handle(1, b.Acquire(1, "m", True)) == [Reply(1, b.Answer(1))]


def test_who_has_given_up_gets_nothing_and_gives_back_what_it_got() -> None:
    board = Board()
    board.handle(0, b.Acquire(1, "l", True))
    board.handle(1, b.Acquire(1, "l", True))
    board.handle(2, b.Acquire(1, "l", True))
    assert board.handle(1, b.Cancel(1)) == []
    assert board.handle(0, b.Cancel(1)) == [Reply(2, b.Answer(1))]
    assert board.handle(0, b.Cancel(7)) == []


def test_the_lock_of_who_is_gone_goes_on_and_the_next_is_told() -> None:
    board = Board()
    board.handle(0, b.Acquire(1, "l", True))
    board.handle(1, b.Acquire(1, "l", True))
    board.handle(2, b.Acquire(1, "l", True))
    assert board.gone(1) == []
    note = "l: the last to hold it is gone: it crashed"
    assert board.gone(0, "it crashed") == [Reply(2, b.Answer(1, note=note))]
    note = "l: the last to hold it is gone: its process has ended, and had not given it back"
    assert board.gone(2) == []
    assert board.handle(3, b.Acquire(1, "l", True)) == [Reply(3, b.Answer(1, note=note))]


def test_who_crashes_is_on_no_trail_and_who_ends_stays() -> None:
    board = Board()
    assert board.handle(0, b.Join(1, "t")) == [Reply(0, b.Answer(1, ok=True))]
    assert board.handle(1, b.Join(1, "t")) == [Reply(1, b.Answer(1, ok=False))]
    board.gone(0)
    board.gone(1, "it crashed")
    assert board.handle(2, b.Leave(1, "t")) == [Reply(2, b.Answer(1, ok=True, found=True))]
    assert board.handle(2, b.Leave(2, "t")) == [Reply(2, b.Answer(2, ok=False, found=False))]


def test_who_waits_for_whom() -> None:
    board = Board()
    board.handle(0, b.Acquire(1, "l", True, "a"))
    assert board.waits() == []
    board.handle(1, b.Acquire(1, "l", True, "b"))
    board.handle(0, b.Acquire(2, "l", True, "c"))
    assert board.waits() == [
        (Asking(1, 1, "b"), Asking(0, 1, "a")),
        (Asking(0, 2, "c"), Asking(0, 1, "a")),
    ]
    board.handle(0, b.Cancel(1))
    assert board.waits() == [(Asking(0, 2, "c"), Asking(1, 1, "b"))]
    board.handle(0, b.Cancel(2))
    assert board.waits() == []


steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["take", "give", "die"])))


@given(steps)
def test_a_lock_has_one_holder_and_nobody_is_forgotten(found: list[tuple[int, str]]) -> None:
    board, holder, waiting, number = Board(), None, list[tuple[int, int]](), 0
    for asker, step in found:
        number += 1
        if step == "take":
            waiting.append((asker, number))
            replies = board.handle(asker, b.Acquire(number, "l", True))
        elif step == "give" and holder is not None and holder[0] == asker:
            holder = None
            replies = board.handle(asker, b.Release(number, "l"))[1:]
        elif step == "die":
            waiting = [each for each in waiting if each[0] != asker]
            holder = None if holder is not None and holder[0] == asker else holder
            replies = board.gone(asker, "it crashed")
        else:
            continue
        for reply in replies:
            assert holder is None
            holder = waiting.pop(0)
            assert holder == (reply.asker, reply.answer.number)
        assert holder is not None or not waiting
