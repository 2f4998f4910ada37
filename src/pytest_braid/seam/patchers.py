"""What replaces parts of the process, or starts another: ``mock``'s patchers, and ``Popen``."""

from __future__ import annotations

import sys
from types import FrameType, ModuleType
from typing import Any

_MOCKS = ("unittest.mock", "mock.mock")


def patchers() -> list[tuple[type, str]]:
    """Class and name of the methods in which patchers of the mock modules that are loaded act."""
    found = []
    for name in _MOCKS:
        module: Any = sys.modules.get(name)
        if module is not None and probe_patchers(module) is None:
            found += [(module._patch, "__enter__"), (module._patch_dict, "_patch_dict")]
    return found


def probe_patchers(module: ModuleType) -> str | None:
    """Why one cannot see what patchers are about to replace, if so."""
    one, other = getattr(module, "_patch", None), getattr(module, "_patch_dict", None)
    if hasattr(one, "__enter__") and hasattr(other, "_patch_dict"):
        return None
    return f"{module.__name__} patches otherwise than braid knows it (_patch, _patch_dict)"


def target_of(patcher: Any) -> tuple[object, str]:
    """The object whose attribute is about to be replaced, and the attribute; or the mapping."""
    if hasattr(patcher, "getter"):
        return patcher.getter(), str(patcher.attribute)
    return patcher.in_dict, ""


def inherits_output(frame: FrameType | None) -> bool:
    """Whether the process that ``Popen`` is starting, in this frame of its, writes where we do.

    If the frame is another than known: yes.
    """
    known = {} if frame is None else frame.f_locals
    written = [known.get("c2pwrite", -1), known.get("errwrite", -1)]
    return -1 in written or known.get("preexec_fn") is not None


def is_of_popen(frame: FrameType | None) -> bool:
    """Whether it is ``Popen`` that starts a process here, of which it has told already."""
    return frame is not None and frame.f_globals.get("__name__") == "subprocess"
