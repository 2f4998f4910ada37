"""pytest's capture in a forked copy, tried on captures like the global one, within it."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any

import pytest
from _pytest.capture import (  # noqa: TID251 -- what the seam is about
    FDCapture,
    MultiCapture,
    NoCapture,
    SysCapture,
)

from pytest_braid.seam import interpreter, output

Captured = tuple[Any, list[IO[bytes]], Any]


def like(capturing: Any, method: str = "fd") -> Any:
    """A config whose global capture is ``capturing``."""
    manager = SimpleNamespace(_global_capturing=capturing)
    return SimpleNamespace(
        pluginmanager=SimpleNamespace(get_plugin={"capturemanager": manager}.get),
        getoption={"capture": method}.get,
    )


@contextmanager
def capturing_with(kind: Any) -> Iterator[Captured]:
    """(config, the files for stdout and stderr, the capture), which is on.

    No fixture: pytest's own capture changes hands between setup and call.
    """
    capturing: Any = MultiCapture(in_=None, out=kind(1), err=kind(2))
    files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
    capturing.start_capturing()
    try:
        yield like(capturing), files, capturing
    finally:
        capturing.stop_capturing()
        for file in files:
            file.close()


both = pytest.mark.parametrize("kind", [FDCapture, SysCapture], ids=["fd", "sys"])


def say(text: str, stream: Any = None) -> None:
    print(text, file=stream)


def give(captured: Captured) -> None:
    config, (out, err), _ = captured
    output.give_capture_files(config, out.fileno(), err.fileno())


def contents(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1000, 0).decode()


@both
def test_what_is_captured_lies_in_the_given_files(kind: Any) -> None:
    with capturing_with(kind) as captured:
        give(captured)
        say("out")
        say("err", sys.stderr)
        _, (out, err), capturing = captured
        assert (contents(out), contents(err)) == ("out\n", "err\n")
        assert tuple(capturing.readouterr()) == ("out\n", "err\n")
        assert (contents(out), contents(err)) == ("", "")
        say("more")
        assert (contents(out), tuple(capturing.readouterr())) == ("more\n", ("more\n", ""))


@both
def test_who_has_kept_a_stream_goes_on_writing_to_the_right_place(kind: Any) -> None:
    with capturing_with(kind) as captured:
        handler = logging.StreamHandler()
        give(captured)
        handler.emit(logging.makeLogRecord({"msg": "logged"}))
        _, _, capturing = captured
        assert tuple(capturing.readouterr()) == ("", "logged\n")


def test_a_descriptor_that_somebody_was_given_stays_valid() -> None:
    """faulthandler keeps the number of ``sys.stderr``."""
    with capturing_with(FDCapture) as captured:
        known = sys.stderr.fileno()
        give(captured)
        os.write(known, b"fault")
        _, (_, err), _ = captured
        assert contents(err) == "fault"


def test_a_test_that_closes_all_low_descriptors_does_not_meet_the_capture() -> None:
    with capturing_with(FDCapture) as (config, files, capturing):
        high = [interpreter.out_of_reach(os.dup(file.fileno())) for file in files]
        output.give_capture_files(config, *high)
        for capture in (capturing.out, capturing.err):
            assert capture.tmpfile.fileno() >= 256
            assert capture.targetfd_save >= 256
    for descriptor in high:
        os.close(descriptor)  # still ours


@both
def test_streams_that_a_test_has_closed_are_opened_again(kind: Any) -> None:
    with capturing_with(kind) as captured:
        give(captured)
        config, (out, err), capturing = captured
        mend = output.capture_mender(config, out.fileno(), err.fileno())
        kept = sys.stdout
        say("lost")
        sys.stdout.close()
        sys.stderr.close()
        mend()
        assert sys.stdout is kept
        assert tuple(capturing.readouterr()) == ("", "")
        say("out")
        say("err", sys.stderr)
        assert tuple(capturing.readouterr()) == ("out\n", "err\n")
        mend()


@both
def test_a_copy_leaves_what_is_captured_to_its_original(kind: Any) -> None:
    with capturing_with(kind) as captured:
        give(captured)
        config, _, capturing = captured
        say("said before")
        pid = os.fork()
        if pid == 0:
            try:
                output.leave_capture_alone(config)
                say("said in the copy")
                os._exit(tuple(capturing.readouterr()) != ("", ""))
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        read = capturing.readouterr().out
        assert read.startswith("said before\n")


@both
def test_text_that_cannot_be_encoded_does_as_before(kind: Any) -> None:
    """pytest's own objects: of files with a replacement, of memory with an error."""
    with capturing_with(kind) as captured:
        _, _, capturing = captured
        give(captured)
        if isinstance(capturing.out, FDCapture):
            say("a\udc80b")
            assert capturing.readouterr().out == "a?b\n"
        else:
            with pytest.raises(UnicodeEncodeError):
                say("a\udc80b")


@pytest.mark.parametrize(
    "capturing", [None, SimpleNamespace(), SimpleNamespace(out=None, err=None)]
)
def test_a_capture_that_is_not_known_is_a_reason_not_to_fork(capturing: Any) -> None:
    assert "capture is built otherwise than braid knows it" in str(
        output.probe_capture(like(capturing))
    )
    assert output.probe_capture(like(capturing, "sys")) is None


def test_pytest_s_own_capture_is_known() -> None:
    capturing: Any = MultiCapture(in_=None, out=FDCapture(1), err=FDCapture(2))
    assert output.probe_capture(like(capturing)) is None
    for capture in (capturing.out, capturing.err):
        capture.start()
        capture.done()


def test_without_capture_there_is_nothing_to_give() -> None:
    none: Any = MultiCapture(in_=None, out=NoCapture(1), err=NoCapture(2))
    output.give_capture_files(like(none, "no"), 1, 2)
    output.capture_mender(like(none, "no"), 1, 2)()
    assert not output.captures_in_files(like(none, "no"))
