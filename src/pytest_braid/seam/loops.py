"""What asyncio itself tells of nobody: async generators that are begun or dropped, and event loops
that are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

_BEGUN, _DROPPED = "_asyncgen_firstiter_hook", "_asyncgen_finalizer_hook"


def probe_loops(loop: asyncio.AbstractEventLoop) -> str | None:
    """Why one cannot see them, if so."""
    for name in (_BEGUN, _DROPPED):
        if not hasattr(loop, name):
            return f"{type(loop).__module__}.{type(loop).__qualname__} has no {name}"
    return None if hasattr(asyncio.BaseEventLoop, "__init__") else "BaseEventLoop has no __init__"


def watch_generators(
    loop: asyncio.AbstractEventLoop,
    note: Callable[[AsyncGenerator[Any]], None],
    disown: Callable[[Callable[[], None]], None],
) -> None:
    """Have every async generator noted that is begun while the loop runs. Where one is dropped
    before its end, the loop has a task close it: ``disown`` is called with what orders that."""
    if probe_loops(loop) is not None:
        return
    holder: Any = loop
    begun, dropped = getattr(holder, _BEGUN), getattr(holder, _DROPPED)

    def begin(generator: AsyncGenerator[Any]) -> None:
        note(generator)
        begun(generator)

    def drop(generator: AsyncGenerator[Any]) -> None:
        disown(lambda: dropped(generator))

    setattr(holder, _BEGUN, begin)
    setattr(holder, _DROPPED, drop)


def watch_loops(note: Callable[[asyncio.AbstractEventLoop], None]) -> Callable[[], None]:
    """Have every event loop noted that is made; returns what undoes it."""
    kind: Any = asyncio.BaseEventLoop
    original = kind.__init__

    def init(self: asyncio.AbstractEventLoop, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        note(self)

    kind.__init__ = init
    return lambda: setattr(kind, "__init__", original)
