"""pytest's capture, for each of several running tests.

The capture manager keeps two things: the global capture, which is on during each phase, and the
fixture (``capsys``) that takes over from it. Each test has a manager of its own, to which the one
that everybody knows passes on what it is asked; it captures what goes through ``sys.stdout`` and
``sys.stderr``, for a descriptor belongs to the whole process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper
from tempfile import TemporaryFile
from typing import IO, Any

import pytest
from _pytest import capture

from pytest_braid.seam.routing import (
    Pool,
    Values,
    dress,
    in_context,
    key_of,
    missing,
    takes_otherwise,
)

_NEEDED = ("CaptureIO", "CaptureManager", "MultiCapture", "SysCapture", "_get_multicapture")
_ATTRIBUTES = ("_global_capturing", "_capture_fixture")
_KEY = "capturemanager"


class _Memory(BytesIO):
    """Keeps what is written in memory, until somebody asks for a descriptor; then in a file."""

    mode = "rb+"
    _file: IO[bytes] | None = None

    def fileno(self) -> int:
        if self._file is None:
            file = TemporaryFile(buffering=0)  # noqa: SIM115 -- closed with this object
            file.write(super().getvalue())
            self._file = file
        return self._file.fileno()

    def write(self, data: Any) -> int:
        return super().write(data) if self._file is None else self._file.write(data)

    def read(self, size: int | None = -1) -> bytes:
        if self._file is None:
            return super().read(size)
        return self._file.read(-1 if size is None else size)

    def seek(self, position: int, whence: int = 0) -> int:
        seek = super().seek if self._file is None else self._file.seek
        return seek(position, whence)

    def tell(self) -> int:
        return super().tell() if self._file is None else self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        return super().truncate(size) if self._file is None else self._file.truncate(size)

    def getvalue(self) -> bytes:
        if self._file is None:
            return super().getvalue()
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


class _Stream(capture.CaptureIO):
    """What a test finds with ``--capture=fd``: a file, which replaces what it cannot encode."""

    buffer: _Memory

    def __init__(self) -> None:
        TextIOWrapper.__init__(
            self, _Memory(), encoding="utf-8", errors="replace", newline="", write_through=True
        )

    @property
    def name(self) -> str:
        return repr(self.buffer)

    @property
    def mode(self) -> str:
        return "r+"

    def getvalue(self) -> str:
        return self.buffer.getvalue().decode("utf-8", "replace")


class _Capture(capture.SysCapture):
    """Of one test after another."""

    def __init__(self, fd: int, tmpfile: Any) -> None:
        super().__init__(fd, tmpfile)
        self.key = key_of(sys, self.name)

    def is_empty(self) -> bool:
        """Whether nothing was printed."""
        stream: Any = self.tmpfile
        memory: _Memory = stream.buffer
        return memory._file is None and not memory.getbuffer().nbytes


def _own_capturing(method: Any) -> Any:
    """A global capture between two phases."""
    if method == "fd":
        own = capture.MultiCapture(
            in_=capture.SysCapture(0),
            out=_Capture(1, _Stream()),
            err=_Capture(2, _Stream()),
        )
    else:
        own = capture._get_multicapture(method)
    own.start_capturing()
    own.suspend_capturing()
    return own


class _Phase:
    """What pytest does around a phase of a test that has not asked for its output (``capsys``):
    turn capturing on and off, and put what was printed into the report."""

    __slots__ = ("_item", "_manager", "_own", "_when")

    def __init__(self, own: dict[str, Any], manager: Any, when: str, item: pytest.Item) -> None:
        self._own, self._manager, self._when, self._item = own, manager, when, item

    def __enter__(self) -> None:
        self._turn("started")

    def __exit__(self, *_exception: object) -> None:
        manager = self._manager
        capturing = manager._global_capturing
        if self._own and manager._capture_fixture is None and capturing._state == "started":
            self._turn("suspended")
            if capturing.out.is_empty() and capturing.err.is_empty():
                return  # as most
        else:
            manager.deactivate_fixture()
            manager.suspend_global_capture(in_=False)
        for name, text in zip(("stdout", "stderr"), manager.read_global_capture(), strict=True):
            self._item.add_report_section(self._when, name, text)

    def _turn(self, state: str) -> None:
        """What ``sys`` shows is put where that looks, without asking who runs."""
        capturing = self._manager._global_capturing
        capturing._state = state
        for part in (capturing.out, capturing.err):
            self._own[part.key] = part.tmpfile if state == "started" else part._old
            part._state = state


def _own_manager(shared: Any) -> Any:
    manager = capture.CaptureManager(shared._method)
    if shared._global_capturing is not None:
        manager._global_capturing = _own_capturing(shared._method)
    return manager


def _methods() -> list[str]:
    """Those by which pytest, its fixtures and plugins use the manager. Its hooks end in them."""
    return [
        name
        for name, value in vars(capture.CaptureManager).items()
        if callable(value) and not name.startswith(("__", "pytest_"))
    ]


def _is_clean(manager: Any) -> bool:
    """Between two phases again, and not left in the middle of one (Ctrl-C)."""
    capturing = manager._global_capturing
    return manager._capture_fixture is None and capturing and not capturing.is_started()


def _lent(pool: Pool, own: dict[str, Any]) -> Any:
    return own.setdefault(_KEY, pool.lend(own))


def _around_phase(values: Values, pool: Pool) -> Any:
    original = capture.CaptureManager.item_capture
    running = in_context(values)

    def item_capture(self: Any, when: str, item: pytest.Item) -> Any:
        own = running() or values()
        if own is None:
            return original(self, when, item)
        manager = own.get(_KEY) or _lent(pool, own)
        capturing = manager._global_capturing
        if (
            manager._capture_fixture is None
            and type(getattr(capturing, "out", None)) is _Capture
            and capturing._state == capturing.out._state == capturing.err._state == "suspended"
            and not capturing._in_suspended
        ):  # as every test has it at first
            return _Phase(own, manager, when, item)
        return original(manager, when, item)

    return item_capture


def _delegating(name: str, values: Values, pool: Pool) -> Any:
    method = getattr(capture.CaptureManager, name)

    def delegate(self: Any, *args: Any, **more: Any) -> Any:
        own = values()
        if own is None:
            return method(self, *args, **more)
        return method(own.get(_KEY) or _lent(pool, own), *args, **more)

    return delegate


def _manager(config: pytest.Config) -> Any:
    return config.pluginmanager.get_plugin("capturemanager")


def probe(config: pytest.Config) -> str | None:
    """Whether the manager keeps what it captures with where it is looked for."""
    if _manager(config) is None:
        return None
    return (
        missing(capture, dict.fromkeys(_NEEDED))
        or missing(_manager(config), dict.fromkeys(("_method", *_ATTRIBUTES)))
        or missing(capture.MultiCapture, dict.fromkeys(("_state", "_in_suspended")))
        or takes_otherwise(_manager(config).item_capture, "when", "item")
    )


@contextmanager
def isolated(config: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test have a capture manager."""
    manager = _manager(config)
    if manager is None:
        yield
        return
    pool = Pool(lambda: _own_manager(manager), _is_clean)
    delegating = {name: _delegating(name, values, pool) for name in _methods()}
    kind = dress(manager, {**delegating, "item_capture": _around_phase(values, pool)})
    try:
        yield
    finally:
        manager.__class__ = kind
