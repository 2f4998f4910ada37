"""What a process leaves in shared memory is there after its death, whatever ended it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.wire.kit import Claim, Place, WorkerKit, new_mark


def in_a_process_that_is_killed(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("test", [0, 1, 2**31 - 2])
def test_a_claim_outlives_its_process(test: int) -> None:
    with tempfile.TemporaryFile() as file:
        ours = Claim(file.fileno())
        assert ours.get() == {}
        in_a_process_that_is_killed(lambda: Claim(file.fileno()).set(test))
        assert ours.get() == {test: 0}
        in_a_process_that_is_killed(lambda: Claim(file.fileno()).set(3))
        assert ours.get() == {3: 0}
        ours.close()


def test_each_strand_has_a_claim() -> None:
    with tempfile.TemporaryFile() as file:
        ours = Claim(file.fileno())
        last = Claim.STRANDS - 1
        in_a_process_that_is_killed(lambda: Claim(file.fileno()).set(4, last, 2**64 - 1))
        in_a_process_that_is_killed(lambda: Claim(file.fileno()).set(2, 1, 9))
        assert ours.get() == {2: 9, 4: 2**64 - 1}
        assert ours.place.get() == ""
        assert not ours.is_forbidden()
        ours.close()


def test_a_second_look_does_not_empty_a_claim() -> None:
    with tempfile.TemporaryFile() as file:
        one = Claim(file.fileno())
        one.set(5)
        two = Claim(file.fileno())
        assert two.get() == {5: 0}
        one.close()
        two.close()


def test_the_worker_sees_that_it_may_begin_nothing_more() -> None:
    with tempfile.TemporaryFile() as file:
        ours, workers = Claim(file.fileno()), Claim(file.fileno())
        workers.set(2**31 - 2)
        assert not workers.is_forbidden()
        ours.forbid()
        assert workers.is_forbidden()
        workers.set(7)
        assert (ours.get(), workers.is_forbidden()) == ({7: 0}, True)
        ours.close()
        workers.close()


def test_a_place_outlives_its_process() -> None:
    place = Place()
    assert place.get() == ""
    in_a_process_that_is_killed(lambda: place.set("tests/test_a.py"))
    assert place.get() == "tests/test_a.py"
    place.close()


@given(st.text(st.characters(exclude_categories=(), exclude_characters="\0"), max_size=2000))
def test_a_place_is_cut_to_its_room_but_never_broken(text: str) -> None:
    place = Place()
    place.set("something longer than the next text" * 50)
    place.set(text)
    kept = place.get()
    encodable = text.encode(errors="replace").decode()
    assert encodable.startswith(kept)
    assert kept == encodable or len(kept.encode()) > 1020
    place.close()


def test_a_mark_begins_as_no_text_ends() -> None:
    """Or the end of a line would be held back, as it may be the beginning of a mark."""
    marks = {new_mark() for _ in range(1000)}
    assert len(marks) == 1000
    assert {mark[:1] for mark in marks} == {b"\xff"}


def test_a_kit_knows_whether_it_has_live_output() -> None:
    size = WorkerKit.size(is_live=False)
    without, kit = WorkerKit(*range(size)), WorkerKit(*range(size + 2))
    assert (without.descriptors(), without.live()) == (tuple(range(size)), ())
    assert (kit.descriptors(), kit.live()) == (tuple(range(size + 2)), (size, size + 1))
    assert len(kit.descriptors()) == WorkerKit.size(is_live=True)
