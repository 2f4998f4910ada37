"""Which object holds a descriptor or runs a thread: names for messages, found on the heap."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from typing import Any


def origin_of_thread(thread: threading.Thread) -> str:
    """Function, file and line that a thread runs, or its class."""
    target: Any = getattr(thread, "_target", None)
    code = getattr(target, "__code__", None)
    if code is not None:
        return f"{target.__qualname__}, {code.co_filename}:{code.co_firstlineno}"
    return f"{type(thread).__module__}.{type(thread).__qualname__}"


def socket_object(descriptor: int) -> Any:
    """The ``socket.socket`` with this descriptor, if Python holds it."""
    for candidate in _instances("socket", "socket"):
        if candidate.fileno() == descriptor:
            return candidate
    return None


def is_of_event_loop(candidate: object) -> bool:
    """Whether a socket is one of the pair with which an asyncio loop wakes itself."""
    return any(
        candidate in (getattr(loop, "_ssock", None), getattr(loop, "_csock", None))
        for loop in _instances("asyncio.base_events", "BaseEventLoop")
    )


def event_loop_of(descriptor: int) -> Any:
    """The asyncio loop that waits on this epoll descriptor."""
    for loop in _instances("asyncio.base_events", "BaseEventLoop"):
        selector = getattr(getattr(loop, "_selector", None), "_selector", None)
        if selector is not None and selector.fileno() == descriptor:
            return loop
    return None


def connection_to(path: str) -> Any:
    """The ``sqlite3`` connection that has this file open, if Python holds it."""
    for connection in _instances("sqlite3", "Connection"):
        with contextlib.suppress(Exception):  # closed, or of another thread
            with contextlib.closing(connection.cursor()) as cursor:
                cursor.row_factory = None
                rows = cursor.execute("PRAGMA database_list").fetchall()  # all: it must end
            if any(row[2] == path for row in rows):
                return connection
    return None


def file_locks() -> list[Any]:
    """Locks of the package ``filelock`` that refuse to be used by another process than the one that
    has made them. Those of its older releases do not, and are not among them."""
    contents = vars(sys.modules.get("filelock", object))  # it imports some of its names when asked
    names = ("BaseFileLock", "ReadWriteLock", "SoftReadWriteLock")
    kinds = tuple(contents[name] for name in names if name in contents)
    if not kinds:
        return []
    objects = gc.get_objects()
    types = {kind for kind in set(map(type, objects)) if issubclass(kind, kinds)}
    return [lock for lock in objects if type(lock) in types and hasattr(lock, "_creator_pid")]


def named(held: Any) -> str:
    """What an object is, and where it is found: the name of a module and of a global in it."""
    for module, contents in list(sys.modules.items()):
        for name, value in list(getattr(contents, "__dict__", {}).items()):
            if value is held:
                return f"{module}.{name}, {held!r}"
    return repr(held)


def _instances(module: str, name: str) -> list[Any]:
    """All at once: a generator that is left early would be on the list that it keeps, and so keep
    the whole heap alive."""
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None:
        return []
    # ``isinstance`` would wake lazy proxies.
    return [candidate for candidate in gc.get_objects() if issubclass(type(candidate), kind)]
