"""Pool row to selected reasoning traces."""
