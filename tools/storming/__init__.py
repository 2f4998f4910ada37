"""The fault storm, in parts: what may happen, suites made of it, runs, and their checker."""
