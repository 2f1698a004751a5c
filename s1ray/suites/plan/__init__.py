"""The plan suite."""
