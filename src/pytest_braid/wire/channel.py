"""Messages over a stream socket, in frames: four bytes of length, then an array in MessagePack."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from pytest_braid.wire.values import pack, unpack

Incoming = TypeVar("Incoming")

_LENGTH = struct.Struct("!I")
_IS_PACKED = 1 << 31
"""Bit of the length: the body is a value of ``wire.values``, of the messages as builtins."""

_CHUNK = 1 << 18
_MOST_DESCRIPTORS = 16


class Encoder:
    """Turns messages into frames. One per process is enough."""

    __slots__ = ("_encode",)

    def __init__(self) -> None:
        self._encode = msgspec.msgpack.Encoder().encode

    def frame(self, messages: Sequence[msgspec.Struct]) -> bytes:
        """Encode messages, texts that are not UTF-8 (lone surrogates) included."""
        try:
            body = self._encode(messages)
        except UnicodeEncodeError:
            body = pack(msgspec.to_builtins(messages, builtin_types=(bytes,)))
            return _LENGTH.pack(len(body) | _IS_PACKED) + body
        return _LENGTH.pack(len(body)) + body


class Frames(Generic[Incoming]):
    """Takes bytes as they come and gives back messages of whole frames; keeps a broken last one."""

    __slots__ = ("_decoder", "_pending", "_type")

    def __init__(self, union: Any) -> None:
        self._type = list[union]
        self._decoder = msgspec.msgpack.Decoder(self._type)
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Incoming]:
        """Every message that ``data`` completes, in order."""
        self._pending += data
        pending, at = self._pending, 0
        messages: list[Incoming] = []
        with memoryview(pending) as view:
            while at + 4 <= len(pending):
                (header,) = _LENGTH.unpack_from(pending, at)
                end = at + 4 + (header & ~_IS_PACKED)
                if end > len(pending):
                    break
                messages += self._decoded(view[at + 4 : end], header & _IS_PACKED)
                at = end
        del pending[:at]
        return messages

    def _decoded(self, body: memoryview, is_packed: int) -> list[Incoming]:
        messages: list[Incoming]
        if is_packed:
            messages = msgspec.convert(unpack(bytes(body)), self._type)
        else:
            messages = self._decoder.decode(body)
        return messages


class Channel(Generic[Incoming]):
    """One end of a socket between two processes of a run.

    ``send`` blocks until the kernel has taken the message. The ends are arranged so that this
    cannot deadlock: the controller reads whenever it waits, and what it sends is small.
    """

    def __init__(self, sock: socket.socket, union: Any) -> None:
        self.socket = sock
        self._encoder = Encoder()
        self._frames: Frames[Incoming] = Frames(union)
        self._ready: deque[Incoming] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: msgspec.Struct, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message; descriptors, if any, travel with its first byte.

        Raises:
            OSError: the other end is gone.
        """
        data = self._encoder.frame((message,))
        if descriptors:
            sent = socket.send_fds(self.socket, [data], list(descriptors))
            data = data[sent:]
        self.socket.sendall(data)

    def receive(self) -> Incoming | None:
        """Wait for the next message; ``None`` when the other end is gone."""
        while not self._ready:
            if not self.read():
                return None
        return self._ready.popleft()

    def arrived(self) -> tuple[Incoming, ...]:
        """The messages that have arrived, which stay."""
        return tuple(self._ready)

    def waiting_one(self) -> Incoming | None:
        """The next message that has arrived, if one has."""
        return self._ready.popleft() if self._ready else None

    def waiting(self) -> list[Incoming]:
        """The messages that have arrived, without waiting."""
        messages = list(self._ready)
        self._ready.clear()
        return messages

    def read(self) -> bool:
        """Read once what is there, waiting for something; false at the end of the stream."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, _CHUNK, _MOST_DESCRIPTORS)
        except ConnectionError:
            return False
        for descriptor in descriptors:  # the flag for it gets lost in ``recv_fds``
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        self._ready.extend(self._frames.feed(data))
        return bool(data)

    def take_descriptors(self, count: int) -> tuple[int, ...]:
        """The next ``count`` descriptors that came with messages, in order."""
        return tuple(self._descriptors.popleft() for _ in range(count))

    def close(self) -> None:
        self.socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
