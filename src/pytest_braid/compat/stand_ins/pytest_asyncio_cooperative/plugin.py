"""For ``-p pytest_asyncio_cooperative.plugin``: what it would do, braid does."""
