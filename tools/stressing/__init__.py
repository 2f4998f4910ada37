"""The stress suite of ``tools/stress_threads.py``."""
