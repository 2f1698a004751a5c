"""A run's directory: its name, lease and records, and what a later start finds in it."""
