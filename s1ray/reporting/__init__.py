"""Run directories to figures, tables and pages."""
