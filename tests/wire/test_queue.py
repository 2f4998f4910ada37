"""Every record is had by exactly one: by the worker, or by the controller that takes it back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.wire.queue import END, FINISH, QueueReader, QueueWriter

Pair = tuple[QueueWriter, QueueReader]


def no_question() -> None:
    pytest.fail("asked although there is a record")


@pytest.fixture
def pair() -> Iterator[Pair]:
    writer = QueueWriter()
    yield writer, QueueReader(writer.reading_end)
    writer.close()


records = st.lists(st.integers(-2, 2**31 - 1), max_size=300)


@given(records, st.integers(0, 300))
def test_records_are_read_in_order_and_the_rest_is_taken_back(put: list[int], read: int) -> None:
    writer = QueueWriter()
    reader = QueueReader(writer.reading_end)
    writer.put(put)
    assert [reader.take(no_question) for _ in put[:read]] == put[:read]
    rest = put[read:]
    assert writer.take_back() == [record for record in rest if record >= 0]
    answers = [record for record in rest if record < 0]
    assert [reader.take(no_question) for _ in answers] == answers
    assert writer.take_back() == []
    writer.close()


def test_an_empty_queue_is_asked_about_once(pair: Pair) -> None:
    writer, reader = pair
    asked = []

    def answer() -> None:
        asked.append(1)
        writer.put([7, END])

    assert reader.take(answer) == 7
    assert reader.take(no_question) == END
    assert asked == [1]


def test_a_record_that_is_revoked_after_the_wake_up_is_waited_for_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = pair
    queued = iter([[], [FINISH]])
    monkeypatch.setattr(reader, "_wait_readable", lambda: writer.put(next(queued)))
    assert reader.wait() == FINISH


def test_a_dead_controller_is_noticed(pair: Pair) -> None:
    writer, _ = pair
    reader = QueueReader(os.dup(writer.reading_end))
    writer.close()
    with pytest.raises(EOFError, match="the controller is gone"):
        reader.wait()
    writer.__init__()  # type: ignore[misc] # for the fixture to close


def test_a_queue_holds_more_than_the_scheduler_ever_gives(pair: Pair) -> None:
    writer, reader = pair
    writer.put(range(10_000))
    assert [reader.take(no_question) for _ in range(10_000)] == list(range(10_000))


def test_no_record_is_lost_or_had_twice_however_they_race(pair: Pair) -> None:
    writer, reader = pair
    read: list[int] = []
    thread = threading.Thread(target=lambda: read.extend(iter(reader.wait, FINISH)))
    thread.start()
    taken: list[int] = []
    for n in range(0, 20_000, 10):
        writer.put(range(n, n + 10))
        taken += writer.take_back()
    writer.put([FINISH])
    thread.join()
    assert sorted(read + taken) == list(range(20_000))
    assert read == sorted(read)
