"""Stand-ins for modules and distributions that are not installed.

The finder itself is in the entry module, which every run loads; this one is loaded when somebody
asks for such a name.
"""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

_STAND_INS = Path(__file__).parent / "stand_ins"

_VERSIONS = {
    "pytest-xdist": "3.8.0",
    "pytest-asyncio-cooperative": "0.40.0",
    "pytest-shared-session-scope": "0.5.2",
}
"""The releases whose interface the stand-ins have."""


def spec_of(name: str) -> ModuleSpec | None:
    """Of the package that stands in for the one of this name."""
    folder = _STAND_INS / name
    return spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )


def is_met(requirement: str) -> bool:
    """Whether a stand-in meets a requirement such as ``pytest-xdist>=3``."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement:
        return False  # pytest says so
    version = _VERSIONS.get(canonicalize_name(wanted.name))
    return version is not None and wanted.specifier.contains(version)


class StandIn(Distribution):
    """Says which release's interface is here, and has no files and no entry points."""

    def __init__(self, name: str) -> None:
        self._metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {_VERSIONS[name]}\n"

    def read_text(self, filename: str) -> str | None:
        return self._metadata if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return _STAND_INS / str(path)
