"""What patchers and ``Popen`` are about to do can be seen in the act."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from pytest_braid.seam import patchers


def test_patchers_are_where_they_are_looked_for() -> None:
    assert patchers.probe_patchers(mock) is None
    for cls, name in patchers.patchers():
        assert name in vars(cls)
    assert len(patchers.patchers()) % 2 == 0
    assert patchers.patchers()


def test_the_probe_says_what_was_looked_for() -> None:
    assert patchers.probe_patchers(ModuleType("other")) == (
        "other patches otherwise than braid knows it (_patch, _patch_dict)"
    )


def test_the_target_of_a_patcher_is_known_before_it_acts() -> None:
    assert patchers.target_of(mock.patch("os.sep")) == (os, "sep")
    assert patchers.target_of(mock.patch.object(os, "sep")) == (os, "sep")
    assert patchers.target_of(mock.patch.dict(os.environ)) == (os.environ, "")


CAUGHT = {"capture_output": True}, {"stdout": -3, "stderr": -2}, {"stdout": -1, "stderr": -3}
INHERITED: tuple[dict[str, Any], ...] = (
    {},
    {"stdout": -1},
    {"stderr": -3},
    {"capture_output": True, "preexec_fn": int},
)

_seen: list[bool] = []
_watches: list[bool] = []


def _watch(event: str, _args: object) -> None:
    if event == "subprocess.Popen" and _watches:
        frame = inspect.currentframe()
        _seen.append(patchers.inherits_output(frame and frame.f_back))


@pytest.mark.parametrize("given", [*CAUGHT, *INHERITED])
def test_whether_a_process_inherits_output_is_seen_in_popen(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _seen.clear()
    monkeypatch.setattr(sys.modules[__name__], "_watches", [True])
    _hook_once()
    subprocess.run(["true"], check=True, **given)
    assert _seen == [given in INHERITED]


_hooks: list[object] = []


def _hook_once() -> None:
    if not _hooks:
        sys.addaudithook(_watch)
        _hooks.append(_watch)


def test_another_frame_is_taken_for_one_that_inherits() -> None:
    frame = inspect.currentframe()
    assert patchers.inherits_output(frame)
    assert patchers.inherits_output(None)
    assert not patchers.is_of_popen(frame)
    assert not patchers.is_of_popen(None)
