"""The zygote: configures as a worker, collects once, and from then on only forks and waits."""
