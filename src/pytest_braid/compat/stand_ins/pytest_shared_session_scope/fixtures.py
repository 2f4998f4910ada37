"""Decorators."""

from pytest_braid.compat.shared_session_scope import (
    shared_json_scope_fixture,
    shared_session_scope_fixture,
    shared_session_scope_json,
    shared_session_scope_pickle,
)

__all__ = [
    "shared_json_scope_fixture",
    "shared_session_scope_fixture",
    "shared_session_scope_json",
    "shared_session_scope_pickle",
]
