"""The gpu suite."""
