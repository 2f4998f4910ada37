"""What asyncio itself tells of nobody: async generators that are begun, and event loops made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

_BEGUN = "_asyncgen_firstiter_hook"


def probe_loops(loop: asyncio.AbstractEventLoop) -> str | None:
    """Why one cannot see them, if so."""
    if hasattr(loop, _BEGUN) and hasattr(asyncio.BaseEventLoop, "__init__"):
        return None
    return f"{type(loop).__module__}.{type(loop).__qualname__} has no {_BEGUN}"


def watch_generators(
    loop: asyncio.AbstractEventLoop, note: Callable[[AsyncGenerator[Any]], None]
) -> None:
    """Have every async generator noted that is begun while the loop runs."""
    if probe_loops(loop) is not None:
        return
    holder: Any = loop
    begun = getattr(holder, _BEGUN)

    def hook(generator: AsyncGenerator[Any]) -> None:
        note(generator)
        begun(generator)

    setattr(holder, _BEGUN, hook)


def watch_loops(note: Callable[[asyncio.AbstractEventLoop], None]) -> Callable[[], None]:
    """Have every event loop noted that is made; returns what undoes it."""
    kind: Any = asyncio.BaseEventLoop
    original = kind.__init__

    def init(self: asyncio.AbstractEventLoop, *args: Any, **more: Any) -> None:
        original(self, *args, **more)
        note(self)

    kind.__init__ = init
    return lambda: setattr(kind, "__init__", original)
