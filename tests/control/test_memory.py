from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_braid.control.audience import Audience
from pytest_braid.control.memory import Memory
from pytest_braid.model import events as e
from pytest_braid.seam import output


def test_a_node_id_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(output, "say", lambda _, line: said.append(line))
    config: Any = SimpleNamespace(cache=SimpleNamespace(mkdir=lambda _: tmp_path))
    audience, taught = Audience(), Memory(config, "on")
    taught.join(audience)
    audience.event(e.TestsCollected(nodeids=("test_a.py::\udc80",), at=0.0))
    audience.event(e.Finished(worker=0, test=0, at=1.0))
    taught.write()
    (line,) = said
    assert line.startswith("braid: the history of this run is lost: 'utf-8' codec can't encode")
    assert not (tmp_path / "history.json").exists()
