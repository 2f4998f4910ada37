"""The scheduler with which its own tests say which of them run in the same worker."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Names = Mapping[int, Sequence[str]] | Sequence[Sequence[str]]
"""For each worker the names of its tests, or patterns of them."""


class FixedScheduling:
    """Tests of the same row run in one worker; which one that is stays open."""

    def __init__(  # noqa: PLR0917 -- its signature is known
        self,
        config: Any,  # noqa: ARG002
        exact_test_names: Names = (),
        literal_test_names: Names = (),
        re_test_names: Names = (),
        exhaustive: bool = True,  # noqa: ARG002
        all_matchers_must_match: bool = True,  # noqa: ARG002
    ) -> None:
        self._rules: list[tuple[Callable[[str, str], bool], Names]] = [
            (lambda nodeid, name: nodeid == name, exact_test_names),
            (lambda nodeid, name: name in nodeid, literal_test_names),
            (lambda nodeid, name: re.match(name, nodeid) is not None, re_test_names),
        ]

    def _split_scope(self, nodeid: str) -> str:
        for matches, names in self._rules:
            rows = names.items() if isinstance(names, Mapping) else enumerate(names)
            for row, those in rows:
                if any(matches(nodeid, name) for name in those):
                    return f"row {row}"
        return nodeid
