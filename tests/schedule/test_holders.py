"""Who makes a value, who has it, and who is the last; whoever dies."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_braid.model import events as e
from pytest_braid.model import holders as h
from pytest_braid.model.board import Answer
from pytest_braid.schedule.board import Reply
from pytest_braid.schedule.holders import Holders, Loss

A, B = "f.a", "f.b"


def started(worker: int, test: int) -> e.Started:
    return e.Started(worker=worker, test=test, at=0)


def finished(worker: int, test: int) -> e.Finished:
    return e.Finished(worker=worker, test=test, at=0)


def enter(holders: Holders, asker: int, value: str = A, number: int = 1) -> list[Reply]:
    return holders.handle(asker, h.Enter(number, "f", value, True))


def made(holders: Holders, asker: int, value: str = A) -> list[Reply]:
    return holders.handle(asker, h.Made(2, value))


def depart(holders: Holders, asker: int, value: str = A, *, is_end: bool = True) -> list[Reply]:
    return holders.handle(asker, h.Depart(3, value, is_end, True))


def ended(holders: Holders, asker: int, value: str = A) -> list[Reply]:
    return holders.handle(asker, h.Ended(4, value))


def settle(holders: Holders, asker: int) -> list[str]:
    (reply,) = holders.handle(asker, h.Settle(5))
    return [value.decode() for value, _ in reply.answer.items]


FIRST = Answer(1)
NEXT = Answer(1, ok=False)
LAST = Answer(3)
NOT_LAST = Answer(3, ok=False)


def test_the_first_makes_it_and_the_others_wait() -> None:
    holders = Holders()
    assert enter(holders, 0) == [Reply(0, FIRST)]
    assert enter(holders, 1) == enter(holders, 2) == []
    assert made(holders, 0) == [Reply(0, Answer(2)), Reply(1, NEXT), Reply(2, NEXT)]
    assert enter(holders, 3) == [Reply(3, NEXT)]


def test_the_last_is_told_when_the_others_are_through() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    assert depart(holders, 0) == [Reply(0, NOT_LAST)]
    assert depart(holders, 1) == []
    assert ended(holders, 0) == [Reply(0, Answer(4)), Reply(1, LAST)]
    assert ended(holders, 1) == [Reply(1, Answer(4))]
    assert not holders.losses()


def test_the_last_is_told_when_who_was_not_through_has_died() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    depart(holders, 0)
    assert depart(holders, 1) == []
    assert holders.gone(0, "it crashed") == [Reply(1, LAST)]


def test_tests_that_may_ask_for_it_are_waited_for() -> None:
    holders = Holders([["f"], ["g"], [h.ANY], ["f"]])
    holders.event(started(0, 0))
    enter(holders, 0)
    made(holders, 0)
    assert depart(holders, 0) == [Reply(0, NOT_LAST)]
    ended(holders, 0)
    holders.event(finished(0, 0))
    assert settle(holders, 0) == []
    holders.event(started(1, 2))
    holders.event(finished(1, 2))
    holders.event(e.WorkerDied(worker=1, running=3, at=0))
    assert settle(holders, 1) == [], "it is for who has left it last, and is there"
    assert settle(holders, 0) == [A]
    assert settle(holders, 0) == [], "once"
    assert enter(holders, 0) == [Reply(0, NEXT)]
    assert depart(holders, 0) == [Reply(0, LAST)]


def test_of_the_askers_own_tests_none_asks_any_more_at_its_end() -> None:
    holders = Holders([["f"], ["f"]])
    holders.event(started(0, 0))
    holders.event(started(1, 1))
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    depart(holders, 0)
    ended(holders, 0)
    assert depart(holders, 1) == [Reply(1, LAST)]


def test_a_stopped_run_waits_for_no_test_that_has_not_begun() -> None:
    holders = Holders([["f"], ["f"], [h.ANY]])
    holders.event(started(0, 0))
    enter(holders, 0)
    made(holders, 0)
    holders.event(e.StopRequested(reason="-x", at=0))
    assert depart(holders, 0, is_end=False) == [Reply(0, NOT_LAST)], "its test goes on"
    ended(holders, 0)
    enter(holders, 0)
    assert depart(holders, 0) == [Reply(0, LAST)]


def test_a_test_that_runs_again_may_ask_again() -> None:
    holders = Holders([["f"]])
    holders.event(started(0, 0))
    holders.event(finished(0, 0))
    holders.event(started(0, 0))
    enter(holders, 1)
    made(holders, 1)
    assert depart(holders, 1) == [Reply(1, NOT_LAST)]


def test_all_values_of_a_fixture_end_in_one_process() -> None:
    holders = Holders()
    for asker, value in ((0, A), (1, B)):
        enter(holders, asker, value)
        made(holders, asker, value)
    assert depart(holders, 0, A) == [Reply(0, NOT_LAST)]
    ended(holders, 0, A)
    assert depart(holders, 1, B) == [Reply(1, LAST)]
    ended(holders, 1, B)
    assert settle(holders, 0) == []
    assert settle(holders, 1) == [A]


def test_a_failure_is_told_to_all_and_nobody_tries_again() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    failed = Answer(1, ok=False, found=False, items=((b"failure", b"no"),))
    assert holders.handle(0, h.Made(2, A, b"no")) == [Reply(0, Answer(2)), Reply(1, failed)]
    assert enter(holders, 2) == [Reply(2, failed)]
    assert not holders.owes


def test_who_waits_for_a_dead_maker_is_told_how_it_died() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    failed = Answer(1, ok=False, found=False, note="it crashed")
    assert holders.gone(0, "it crashed") == [Reply(1, failed)]
    assert enter(holders, 2) == [Reply(2, failed)]


def test_who_is_interrupted_while_it_asks_has_asked_nothing() -> None:
    holders = Holders()
    enter(holders, 0)
    enter(holders, 1, number=7)
    enter(holders, 2)
    assert holders.cancel(1, 7) == []
    assert holders.cancel(0, 1) == [Reply(2, FIRST)]
    made(holders, 2)
    assert depart(holders, 2) == [Reply(2, LAST)]
    assert holders.cancel(2, 3) == []
    assert holders.owes


def test_who_could_not_begin_to_use_it_is_never_the_last() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    depart(holders, 0)
    ended(holders, 0)
    assert holders.handle(1, h.Depart(3, A, False, False)) == [Reply(1, NOT_LAST)]
    assert holders.owes


def test_after_its_end_it_is_made_again_by_who_asks_unexpectedly() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    depart(holders, 0)
    assert enter(holders, 1) == [], "not before it has ended"
    assert ended(holders, 0) == [Reply(0, Answer(4)), Reply(1, Answer(1, note="again"))]


def test_who_waits_to_be_the_last_is_not_when_another_asks_meanwhile() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    depart(holders, 0)
    assert depart(holders, 1) == [], "0 is not through"
    assert enter(holders, 0) == [Reply(1, NOT_LAST), Reply(0, NEXT)]
    ended(holders, 1)
    ended(holders, 0)
    assert depart(holders, 0) == [Reply(0, LAST)]


def test_what_the_dead_have_left_is_settled_or_told() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    holders.gone(0, "it crashed")
    assert settle(holders, 1) == [A]
    enter(holders, 1)
    holders.gone(1, "so did it")
    assert not holders.owes
    assert holders.losses() == [Loss("f", A, "nobody could use it once more: so did it")]


def test_who_dies_as_the_last_is_told() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    depart(holders, 0)
    holders.gone(0, "it crashed")
    assert holders.losses() == [Loss("f", A, "while it was cleaned up: it crashed")]


def test_what_is_left_when_the_run_ends_is_told() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    assert holders.losses() == [Loss("f", A, "the run has ended before")]


def test_what_is_being_cleaned_up_when_the_run_ends_is_told() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    depart(holders, 0)
    assert holders.losses() == [Loss("f", A, "the run has ended while it was cleaned up")]


def test_a_value_without_an_end_is_owed_to_nobody() -> None:
    holders = Holders()
    holders.handle(0, h.Enter(1, "f", A, False))
    made(holders, 0)
    holders.gone(0, "it crashed")
    assert not holders.owes
    assert not holders.losses()


class Play:
    """Processes that enter and leave values as they like, and die (of what they make a value nobody
    makes it again, so that they do not). Who makes a value does nothing else meanwhile."""

    def __init__(self) -> None:
        self.holders = Holders()
        self.state: dict[tuple[int, str], str] = {}
        self.alive = set(range(4))
        self.firsts: Counter[str] = Counter()
        self.lasts: Counter[str] = Counter()

    def take(self, replies: list[Reply], value: str) -> None:
        for reply in replies:
            name = next(
                (v for (a, v), s in self.state.items() if a == reply.asker and "?" in s), value
            )
            where = (reply.asker, name)
            if self.state.get(where) == "in?":
                assert reply.answer.found
                self.state[where] = "makes" if reply.answer.ok else "has"
                self.firsts[name] += reply.answer.ok
            elif self.state.get(where) == "out?":
                self.state[where] = "last" if reply.answer.ok else "leaves"
                self.lasts[name] += reply.answer.ok
                if reply.answer.ok:
                    busy = {s for (_, v), s in self.state.items() if v == name} - {"last", "in?"}
                    assert not busy, "all others are through"

    def step(self, asker: int, value: str, *, dies: bool) -> None:
        if asker not in self.alive or any("?" in self.state.get((asker, v), "") for v in (A, B)):
            return
        making = [v for v in (A, B) if self.state.get((asker, v)) == "makes"]
        value = making[0] if making else value
        where, holders = (asker, value), self.holders
        now = self.state.get(where)
        if dies and not making:
            self.alive.discard(asker)
            for key in [key for key in self.state if key[0] == asker]:
                del self.state[key]
            self.take(holders.gone(asker, "it crashed"), value)
        elif now is None:
            self.state[where] = "in?"
            self.take(enter(holders, asker, value), value)
        elif now == "makes":
            self.state[where] = "has"
            self.take(made(holders, asker, value)[1:], value)
        elif now == "has":
            self.state[where] = "out?"
            self.take(depart(holders, asker, value), value)
        else:
            del self.state[where]
            self.take(ended(holders, asker, value)[1:], value)

    def end(self) -> None:
        """All leave, and one more process has what nobody has ended."""
        for _ in range(12):
            for asker, value in [*self.state]:
                if (asker, value) in self.state:
                    self.step(asker, value, dies=False)
        assert not self.state
        for asker in (*self.alive, 9):
            self.alive.add(asker)
            for value in settle(self.holders, asker):
                for _ in range(3):
                    self.step(asker, value, dies=False)
            self.take(self.holders.gone(asker), A)
            self.alive.discard(asker)


moves = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([A, B]), st.sampled_from([True, *[False] * 9]))
)


@given(moves)
@example(  # 2 asks for b before it is through with a, for which 0 waits, the last to leave b
    [
        (0, B, False),
        (1, A, False),
        (0, A, True),
        (1, A, True),
        (1, A, True),
        (2, A, False),
        (2, A, False),
        (0, B, False),
        (2, B, False),
    ]
)
def test_each_value_has_one_end_for_each_beginning(found: list[tuple[int, str, bool]]) -> None:
    play = Play()
    for asker, value, dies in found:
        play.step(asker, value, dies=dies)
    play.end()
    lost = Counter(loss.value for loss in play.holders.losses())
    for value in (A, B):
        # Who dies as the last was told, and so it is lost.
        assert play.firsts[value] == play.lasts[value], lost
        assert lost[value] <= play.lasts[value]


def test_a_value_is_an_orphan_from_its_last_user_s_death_until_one_more_is_through() -> None:
    holders = Holders()
    enter(holders, 0)
    made(holders, 0)
    assert holders.orphans() == []
    holders.gone(0, "it crashed")
    assert holders.orphans() == [A]
    assert settle(holders, 1) == [A]
    enter(holders, 1)
    assert holders.orphans() == [A], "it may ask for more while it enters"
    depart(holders, 1)
    assert holders.orphans() == []
    ended(holders, 1)
    assert holders.orphans() == []


def test_a_value_is_an_orphan_if_who_waits_to_be_the_last_dies() -> None:
    holders = Holders()
    for asker in (0, 1):
        enter(holders, asker)
    made(holders, 0)
    depart(holders, 0)
    depart(holders, 1)
    assert holders.orphans() == []
    holders.gone(1, "it crashed")
    assert holders.orphans() == [A]


def test_what_is_returned_leaves_no_orphan() -> None:
    holders = Holders()
    holders.handle(0, h.Enter(1, "f", A, False))
    made(holders, 0)
    holders.gone(0)
    assert holders.orphans() == []


def test_what_was_not_made_when_its_maker_died_is_no_orphan() -> None:
    holders = Holders()
    enter(holders, 0)
    holders.gone(0, "it crashed")
    assert holders.orphans() == []
