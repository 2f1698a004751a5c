"""The settings of every suite of ``jobs.benchmark``, one module per suite."""
