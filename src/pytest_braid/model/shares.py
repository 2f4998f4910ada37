"""Fixtures that are set up once for the whole run: what the controller knows of them, and what
workers ask for."""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_braid.model.board import Ask


class Share(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One value that all workers share: a fixture, with one choice of its parameters.

    ``key`` names the definition in every process of the run, ``params`` the choice (empty without
    parameters), ``label`` is what a message calls it. ``uses`` are the keys of shared fixtures that
    it is made from.
    """

    key: str
    params: str
    label: str
    uses: tuple[str, ...] = ()


class Borrow(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """The value of a shared fixture, with this choice of parameters, for the test that the message
    names. Answered when it is set up."""

    key: str
    params: str
    label: str


class Return(Ask, frozen=True, gc=False, tag=True, array_like=True):
    """This process has no use any more for the value that was the answer to ``borrowed``. Answered
    at once, or, if nobody has, when the fixture is torn down."""

    borrowed: int


class Output(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What was printed and logged; ``records`` are encoded by ``wire.values``."""

    out: str = ""
    err: str = ""
    records: tuple[bytes, ...] = ()


class Failure(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a setup or teardown has raised.

    ``text`` is what a message says of it. ``report`` is a serialised report of pytest's with the
    representation of the failure (``wire.values``), and ``shown`` what that writes to the terminal;
    ``error`` is the exception for other processes of the run, empty if it cannot be sent. Without
    a report nothing was raised: the fixture host is gone, or never came to it.
    """

    kind: Literal["error", "exit", "keyboard"]
    text: str
    report: bytes = b""
    shown: str | None = None
    error: bytes = b""


class Lent(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """The answer to a :class:`Borrow` or a :class:`Return` of this number.

    ``has_value``: a file with the value comes with it. ``output`` is that of the setup or the
    teardown, for the first and the last who asks.
    """

    number: int
    has_value: bool = False
    output: Output = Output()
    failure: Failure | None = None
