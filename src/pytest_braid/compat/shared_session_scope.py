"""pytest-shared-session-scope: session fixtures with one value for all workers.

The names, and what each of them means, are those of pytest-shared-session-scope 0.5.2, and of 0.1.0
where those were others. Who makes a value and who is the last to have it the controller says, which
knows who has died and which tests are yet to come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_braid.compat.shared_stores import (
    CleanupToken,
    FileStore,
    JsonStore,
    LocalFileStoreMixin,
    PickleStore,
    SetupToken,
    Store,
    StoreValueNotExists,
)
from pytest_braid.compat.shared_values import Sharing, shared

__all__ = [
    "CleanupToken",
    "FileStore",
    "JsonStore",
    "LocalFileStoreMixin",
    "PickleStore",
    "SetupToken",
    "Store",
    "StoreValueNotExists",
    "shared_json_scope_fixture",
    "shared_session_scope_fixture",
    "shared_session_scope_json",
    "shared_session_scope_pickle",
]

Change = Callable[[Any], Any]
Decorator = Callable[[Callable[..., Any]], Any]


def _same(value: Any) -> Any:
    return value


def shared_session_scope_fixture(
    store: Store[Any],
    parse: Change = _same,
    serialize: Change = _same,
    deserialize: Change = _same,
    metadata_storage: object = None,  # noqa: ARG001 -- the controller counts
    **kwargs: Any,
) -> Decorator:
    """Make a session fixture whose value is made once for all workers.

    The function returns the value, or yields twice: first it is given ``SetupToken.FIRST``, if it
    is to make the value, or the value that another process has made; then it gives the value, and
    is given ``CleanupToken.LAST`` at the end, if no other process has it any more, or ``None``.

    Args:
        store: where the value lies.
        parse: makes of a value what tests see, in each process.
        serialize: makes of a value what is stored.
        deserialize: makes a value of what was stored.
        metadata_storage: not used.
        kwargs: for ``pytest.fixture``: ``params``, ``ids``, ``autouse``, ``name``.
    """
    sharing = Sharing(store, parse, serialize, deserialize, SetupToken.FIRST)
    return lambda function: _fixture(function, sharing, kwargs)


def shared_session_scope_json(
    parse: Change = _same,
    serialize: Change = _same,
    deserialize: Change = _same,
    metadata_storage: object = None,
    **kwargs: Any,
) -> Decorator:
    """Make one whose value is stored as JSON."""
    return shared_session_scope_fixture(
        JsonStore(), parse, serialize, deserialize, metadata_storage, **kwargs
    )


def shared_session_scope_pickle(
    parse: Change = _same,
    serialize: Change = _same,
    deserialize: Change = _same,
    metadata_storage: object = None,
    **kwargs: Any,
) -> Decorator:
    """Make one whose value is pickled."""
    return shared_session_scope_fixture(
        PickleStore(), parse, serialize, deserialize, metadata_storage, **kwargs
    )


def shared_json_scope_fixture(
    serialize: Change = _same,
    deserialize: Change = _same,
    metadata_storage: object = None,  # noqa: ARG001 -- the controller counts
    **kwargs: Any,
) -> Decorator:
    """Make one as of version 0.1.0: who is to make the value is given ``None``."""
    sharing = Sharing(JsonStore(), _same, serialize, deserialize, None)
    return lambda function: _fixture(function, sharing, kwargs)


def _fixture(function: Callable[..., Any], sharing: Sharing, kwargs: dict[str, Any]) -> Any:
    declared = kwargs.get("params")
    if declared is not None:
        kwargs = kwargs | {"params": [*declared]}
    asked_as = kwargs.get("name") or function.__name__
    made = shared(function, sharing, tuple(kwargs.get("params") or ()), asked_as)
    return pytest.fixture(scope="session", **kwargs)(made)
