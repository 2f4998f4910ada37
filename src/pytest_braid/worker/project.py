"""Which code is the project's own, and where it stands."""

from __future__ import annotations

import inspect
import os
import sysconfig
from functools import cache
from pathlib import Path

import pluggy
import pytest

_INSTALLED = ("site-packages", "dist-packages")

_FOREIGN = tuple(
    str(path) + os.sep
    for path in (
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        sysconfig.get_path("scripts"),  # pytest's own, in an environment below the project
        Path(inspect.getfile(pytest)).parent,
        Path(inspect.getfile(pytest.Item)).parent,
        Path(inspect.getfile(pluggy)).parent,
        Path(__file__).parents[1],
    )
)


@cache
def is_own(file: str) -> bool:
    """Whether code of this file is the project's, and not installed beside it."""
    if file.startswith(("<", *_FOREIGN)):  # "<": compiled from no file
        return False
    return not any(part in _INSTALLED for part in Path(file).parts)


def place(root: Path, file: str, line: int) -> str:
    """File, from ``root`` on, and line."""
    path = Path(file)
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{shown}:{line}"
