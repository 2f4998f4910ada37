"""pytest-braid: run a test suite in every way Python can overlap work, with serial results."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pytest_braid.compat.lock import Lock as Lock

_PUBLIC = {
    "shared_fixture": "pytest_braid.fixtures.shared",
    "Lock": "pytest_braid.plugin",
    "concurrent_test": "pytest_braid.compat.threaded",
    "concurrent_function_fixture": "pytest_braid.compat.threaded",
    "generate_tests": "pytest_braid.compat.threaded",
    "ConcurrentTestRunner": "pytest_braid.compat.threaded",
}
"""Public names, and where they are. Imported when somebody asks: every run of pytest imports this
package."""

__all__ = [*_PUBLIC]  # noqa: PLE0604 -- all of them are texts


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pytest_braid' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_PUBLIC[name]), name)
    return found
