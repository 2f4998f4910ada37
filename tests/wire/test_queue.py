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


def reader_of(writer: QueueWriter) -> QueueReader:
    return QueueReader(writer.reading_end, writer.asides)


@pytest.fixture
def pair() -> Iterator[Pair]:
    writer = QueueWriter()
    yield writer, reader_of(writer)
    writer.close()


records = st.lists(st.integers(-2, 2**31 - 1), max_size=300)


@given(records, st.integers(0, 300))
def test_records_are_read_in_order_and_the_rest_is_taken_back(put: list[int], read: int) -> None:
    writer = QueueWriter()
    reader = reader_of(writer)
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
    reader = QueueReader(os.dup(writer.reading_end), writer.asides)
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


def test_what_is_put_aside_comes_back_in_its_order(pair: Pair) -> None:
    writer, reader = pair
    for test in (5, 3, 1 << 20):
        reader.put_aside(test)
    assert [reader.take_aside() for _ in range(4)] == [5, 3, 1 << 20, None]
    assert writer.take_back(asides=True) == []


def test_what_is_put_aside_is_revoked_before_the_rest_and_only_if_wanted(pair: Pair) -> None:
    writer, reader = pair
    writer.put([4, 5, 6, END])
    reader.put_aside(reader.take(no_question))
    reader.put_aside(reader.take(no_question))
    assert writer.take_back() == [6]
    writer.put([7])
    assert writer.take_back(asides=True) == [4, 5, 7]
    assert reader.take_aside() is None
    assert reader.take(no_question) == END


def test_what_is_put_aside_is_had_by_one_however_they_race(pair: Pair) -> None:
    writer, reader = pair
    ran: list[int] = []

    def work() -> None:
        while (record := reader.wait()) != FINISH:
            reader.put_aside(record)
            if record % 3 == 0:
                ran.extend(iter(reader.take_aside, None))
        ran.extend(iter(reader.take_aside, None))

    thread = threading.Thread(target=work)
    thread.start()
    taken: list[int] = []
    for n in range(0, 20_000, 10):
        writer.put(range(n, n + 10))
        taken += writer.take_back(asides=True)
    writer.put([FINISH])
    thread.join()
    assert sorted(ran + taken) == list(range(20_000))
    assert ran == sorted(ran)
