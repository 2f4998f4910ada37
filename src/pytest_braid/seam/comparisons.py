"""What a failing ``assert`` asks: pytest sets it before each test and puts it back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.assertion import util

from pytest_braid.seam.routing import Values, missing, routed, share

_ATTRIBUTES = dict.fromkeys(("_reprcompare", "_assertion_pass", "_config"), share)


def probe(_: pytest.Config) -> str | None:
    """Whether all are there."""
    return missing(util, _ATTRIBUTES)


@contextmanager
def isolated(_: pytest.Config, values: Values) -> Iterator[None]:
    """Let each running test explain its own assertions."""
    with routed(util, values, _ATTRIBUTES):
        yield
