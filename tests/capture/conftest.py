from __future__ import annotations

import compileall
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pytest_braid

Record = dict[str, list[dict[str, Any]]]
Overlapped = Callable[..., Record]


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Of the runs none writes bytecode."""
    for folder in (Path(pytest_braid.__file__).parent, Path(__file__).parent):
        compileall.compile_dir(folder, quiet=1)


@pytest.fixture
def overlapped(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Overlapped:
    """Runs a suite plainly, and with all its tests at once; what is reported must be the same."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def record(name: str, *args: str) -> Record:
        file = pytester.path / f"{name}.json"
        done = pytester.runpytest_subprocess(
            "-p", "overlap", "-p", "no:cacheprovider", f"--record={file}", *args, timeout=60
        )
        assert file.exists(), f"{done.stdout}\n{done.stderr}"
        found: Record = json.loads(file.read_text())
        return found

    def compare(source: str, *args: str, conftest: str = "") -> Record:
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_it="from overlap import meet\n" + source)
        serial = record("serial", *args)
        found = record("overlapped", "--overlap", *args)
        for kind, expected in serial.items():
            for one, other in zip(found[kind], expected, strict=True):
                assert one == other
        return serial

    return compare


def texts(record: Record, name: str) -> dict[str, str]:
    """The text of a section by the name of the test, joined over its phases' reports."""
    last = [report for report in record["reports"] if report["when"] == "teardown"]
    return {
        report["test"].partition("::")[2]: "".join(
            text for title, text in report["sections"] if title == name
        )
        for report in last
    }
