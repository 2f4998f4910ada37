"""Ctrl-C that comes while a message is sent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from pytest_braid.control.interrupts import interrupts_held


@pytest.fixture(autouse=True)
def usual_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_raises_behind_what_must_not_be_cut() -> None:
    done = []

    def send() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        send()
    assert done
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_no_interrupt_is_lost() -> None:
    raised: list[int] = []
    signal.signal(signal.SIGINT, lambda signum, _: raised.append(signum))
    with interrupts_held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert not raised
    assert raised == [signal.SIGINT] * 2


def test_without_an_interrupt_nothing_is_raised() -> None:
    with interrupts_held():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_interrupt_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_held():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_changes_no_handlers() -> None:
    seen = []

    def look() -> None:
        with interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
