"""Messages arrive whole, once and in order, however the stream is cut, and so do descriptors."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel, Encoder, Frames

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
messages = st.one_of(
    st.builds(m.Ready, st.floats(allow_nan=False)),
    st.builds(m.Begun, st.integers(0, 2**31), st.floats(allow_nan=False)),
    st.builds(m.Done, st.integers(0, 2**31), st.floats(allow_nan=False)),
    st.builds(m.Stopping, st.none() | texts, st.none() | texts),
    st.builds(m.InternalFailed, texts),
    st.builds(m.Goodbye, st.binary(max_size=200)),
    st.builds(
        m.JunitNoted,
        st.none() | st.integers(0, 9),
        st.integers(-1, 9),
        st.booleans(),
        st.dictionaries(texts, texts, max_size=3),
        st.lists(st.tuples(texts, texts, st.integers(0, 9)), max_size=2).map(tuple),
    ),
)

Pair = tuple[Channel[Any], Channel[Any]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = [Channel[Any](end, m.FromWorker) for end in socket.socketpair()]
    yield ends[0], ends[1]
    for end in ends:
        end.close()


@given(st.lists(st.lists(messages, max_size=3), max_size=4), st.data())
def test_messages_arrive_however_the_stream_is_cut(
    sent: list[list[Any]], data: st.DataObject
) -> None:
    stream = b"".join(map(Encoder().frame, sent))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    frames: Frames[Any] = Frames(m.FromWorker)
    received = []
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        received += frames.feed(stream[start:end])
    assert received == [message for together in sent for message in together]


@given(messages, st.data())
def test_a_message_that_is_cut_off_does_not_arrive(sent: Any, data: st.DataObject) -> None:
    stream = Encoder().frame([sent])
    frames: Frames[Any] = Frames(m.FromWorker)
    assert frames.feed(stream[: data.draw(st.integers(0, len(stream) - 1))]) == []


def test_what_was_said_before_the_end_is_heard(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(m.Begun(1, 0.5))
    theirs.send(m.Done(1, 0.75))
    theirs.socket.sendall(b"\0\0\0\x09half")
    theirs.close()
    assert ours.receive() == m.Begun(1, 0.5)
    assert ours.receive() == m.Done(1, 0.75)
    assert ours.receive() is None
    assert ours.receive() is None


def test_an_end_with_something_unread_is_an_end(pair: Pair) -> None:
    """The kernel tells it as a reset connection."""
    ours, theirs = pair
    ours.send(m.Ready(0.0))
    theirs.close()
    assert ours.receive() is None
    assert not ours.read()


def test_sending_to_nobody_raises(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        ours.send(m.Ready(0.0))


def test_fifty_megabytes_arrive(pair: Pair) -> None:
    ours, theirs = pair
    sent = m.Goodbye(os.urandom(1 << 16) * 800, retires=False)
    sender = threading.Thread(target=theirs.send, args=(sent,))
    sender.start()
    assert ours.receive() == sent
    sender.join()


def test_what_has_arrived_is_had_without_waiting(pair: Pair) -> None:
    ours, theirs = pair
    assert ours.waiting() == []
    theirs.send(m.Ready(1.0))
    theirs.send(m.Ready(2.0))
    assert ours.receive() == m.Ready(1.0)
    assert ours.waiting() == [m.Ready(2.0)]
    assert ours.waiting() == []


def test_descriptors_arrive_in_order_with_their_messages() -> None:
    ours, theirs = (Channel[Any](end, m.ToZygote) for end in socket.socketpair())
    pipes = [os.pipe() for _ in range(6)]
    for number, (reading, writing) in enumerate(pipes):
        os.write(writing, bytes([number]))
        ours.send(m.Fork(number, number, b""), (reading, writing))
    for number in range(6):
        assert theirs.receive() == m.Fork(number, number, b"")
        received = theirs.take_descriptors(2)
        assert os.read(received[0], 9) == bytes([number])
        assert not any(os.get_inheritable(descriptor) for descriptor in received)
        for descriptor in received:
            os.close(descriptor)
    for descriptor in (descriptor for pipe in pipes for descriptor in pipe):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_descriptors_that_nobody_took_are_closed() -> None:
    ours, theirs = (Channel[Any](end, m.ToZygote) for end in socket.socketpair())
    reading, writing = os.pipe()
    ours.send(m.Fork(0, 0, b""), (writing,))
    os.close(writing)
    theirs.receive()
    theirs.close()
    assert os.read(reading, 1) == b""  # the last writing end is gone
    os.close(reading)
    ours.close()
