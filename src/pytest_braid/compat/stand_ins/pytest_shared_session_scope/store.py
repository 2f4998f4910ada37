"""Stores."""

from pytest_braid.compat.shared_session_scope import (
    FileStore,
    JsonStore,
    LocalFileStoreMixin,
    PickleStore,
    StoreValueNotExists,
)

__all__ = ["FileStore", "JsonStore", "LocalFileStoreMixin", "PickleStore", "StoreValueNotExists"]
