"""The stage of ``tools/cooperative.py``, loaded into its run of the seed's own tests.

Gives runs within a test the options that ``COOPERATIVE_OPTIONS`` has for it, and writes how each
test ended, as JSON lines, to the file that ``ACCEPTANCE_NOTES`` names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from acceptance_stage import Notes  # type: ignore[import-not-found]

_OPTIONS: dict[str, list[str]] = json.loads(os.environ["COOPERATIVE_OPTIONS"])


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Notes(Path(os.environ["ACCEPTANCE_NOTES"])))


@pytest.fixture(autouse=True)
def _options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    more = _OPTIONS.get(request.node.nodeid, [])
    run: Any = pytest.Pytester.runpytest

    def with_options(self: pytest.Pytester, *args: Any, **kwargs: Any) -> Any:
        return run(self, *args, *more, **kwargs)

    monkeypatch.setattr(pytest.Pytester, "runpytest", with_options)
