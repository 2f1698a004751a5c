"""The curation suite."""
