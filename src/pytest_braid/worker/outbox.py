"""Where a test on a strand leaves what is to be told of it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

from pytest_braid.model.variables import variable

Call = Callable[[], object]

outbox: contextvars.ContextVar[list[Call] | None] = variable("outbox", None)
"""What a test on a strand has reported, until it is told; ``None`` in the main thread."""
