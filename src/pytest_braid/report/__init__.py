"""Readers of what happens in a run."""
