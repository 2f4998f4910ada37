"""What projects import from pytest-asyncio-cooperative, for those that have braid instead.

Names and meaning are those of pytest-asyncio-cooperative 0.40.0.
"""

from pytest_braid.compat.asyncio_cooperative import Lock

__version__ = "0.40.0"

__all__ = ["Lock"]
