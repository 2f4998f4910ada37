"""Tokens and the protocol of stores."""

from pytest_braid.compat.shared_session_scope import (
    CleanupToken,
    SetupToken,
    Store,
    StoreValueNotExists,
)

__all__ = ["CleanupToken", "SetupToken", "Store", "StoreValueNotExists"]
