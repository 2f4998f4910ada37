"""A worker: runs one test after another and says what happened."""
