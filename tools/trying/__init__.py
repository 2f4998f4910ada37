"""Third-party plugins, tried: the suites, and what is read of what their runs leave behind."""
