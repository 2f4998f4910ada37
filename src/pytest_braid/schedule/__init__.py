"""Decisions: which worker runs what, when a worker is replaced, when the run is over.

Pure: events in, commands out. No I/O, no clock, no pytest, no randomness.
"""
