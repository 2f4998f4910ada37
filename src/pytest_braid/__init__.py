"""pytest-braid: run a test suite in every way Python can overlap work, with serial results."""
