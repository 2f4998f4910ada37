"""Whose output and whose process-wide state this is, while several tests run at once."""
