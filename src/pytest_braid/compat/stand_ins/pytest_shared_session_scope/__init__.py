"""The fixtures of pytest-shared-session-scope, for projects that import them and have braid.

Names and meaning are those of pytest-shared-session-scope 0.5.2, and of 0.1.0.
"""

from pytest_braid.compat.shared_session_scope import (
    CleanupToken,
    SetupToken,
    Store,
    StoreValueNotExists,
    shared_json_scope_fixture,
    shared_session_scope_fixture,
    shared_session_scope_json,
    shared_session_scope_pickle,
)

__version__ = "0.5.2"

__all__ = [
    "CleanupToken",
    "SetupToken",
    "Store",
    "StoreValueNotExists",
    "shared_json_scope_fixture",
    "shared_session_scope_fixture",
    "shared_session_scope_json",
    "shared_session_scope_pickle",
]
