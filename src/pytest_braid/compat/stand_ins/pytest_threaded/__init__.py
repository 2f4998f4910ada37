"""The functions of pytest-threaded, for projects that import them and have braid instead.

Names and meaning are those of pytest-threaded 0.1.0.
"""

from pytest_braid.compat.threaded import (
    ConcurrentTestRunner,
    concurrent_function_fixture,
    concurrent_test,
    generate_tests,
)

__version__ = "0.1.0"

__all__ = [
    "ConcurrentTestRunner",
    "concurrent_function_fixture",
    "concurrent_test",
    "generate_tests",
]
