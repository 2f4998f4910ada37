"""Its entry point: nothing needs to be done."""
