"""Whether fixtures are shared in this run, and by which tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from pytest_braid.worker.sharing import Sharing


class Uses(NamedTuple):
    """What one test uses: numbers of shares; and whether it could ask for others by name."""

    shares: tuple[int, ...]
    may_ask: bool


NOTHING = Uses((), may_ask=False)

sharing_key = pytest.StashKey["Sharing"]()


def prepare(session: pytest.Session) -> Sharing | None:
    """Find what is shared, note who uses it, and let workers ask for the values. Where nothing can
    be shared, nothing is imported for it.

    Raises:
        pytest.UsageError: what the ini option names cannot be shared.
    """
    config: Any = session.config
    if not config.getini("braid_share") and "pytest_braid.fixtures.shared" not in sys.modules:
        return None
    from pytest_braid.worker.sharing import Sharing

    sharing = Sharing(session)
    config.stash[sharing_key] = sharing
    return sharing
