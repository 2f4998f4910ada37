"""What a worker has to say is said once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Frames
from pytest_braid.worker.speech import Speech


class Line:
    """A socket of which a send is interrupted when all is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_interrupted = True

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)
        if self.is_interrupted:
            raise KeyboardInterrupt


def test_what_was_sent_when_an_interrupt_came_is_not_sent_again() -> None:
    line = Line()
    channel: Any = SimpleNamespace(socket=line)
    speech = Speech(channel)
    speech.hold(m.Stopping(None, "first"))
    with pytest.raises(KeyboardInterrupt):
        speech.flush()
    line.is_interrupted = False
    speech.say(m.Stopping(None, "second"))
    first, second = line.sent
    assert (b"first" in first, b"first" in second, b"second" in second) == (True, False, True)


def test_what_has_no_bytes_is_not_sent_and_all_else_is() -> None:
    line = Line()
    line.is_interrupted = False
    channel: Any = SimpleNamespace(socket=line)
    speech = Speech(channel)
    odd: Any = object()
    for reason in ("first", odd, "third"):
        speech.hold(m.Stopping(None, reason))
    with pytest.raises(TypeError, match="object"):
        speech.flush()
    speech.say(m.Stopping(None, "fourth"))
    frames: Frames[m.Stopping] = Frames(m.Stopping)
    heard = frames.feed(b"".join(line.sent))
    assert [each.shouldstop for each in heard] == ["first", "third", "fourth"]
