"""Where running code is, in frames and as a traceback."""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any


def frames_of(awaited: Any) -> list[FrameType]:
    """The frames of what is awaited, from the outermost to the one that waits."""
    frames = []
    while awaited is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(awaited, f"{kind}_frame", None)
            if frame is not None:
                frames.append(frame)
                awaited = getattr(awaited, f"{kind}_await", None)
                break
        else:
            break
    return frames


def traceback_of(frames: Sequence[FrameType]) -> TracebackType | None:
    """As if something had been raised in the last of these frames."""
    found: TracebackType | None = None
    for frame in reversed(frames):
        found = TracebackType(found, frame, frame.f_lasti, frame.f_lineno)
    return found
