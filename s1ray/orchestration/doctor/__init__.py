"""Examining a running cluster: what every node says of itself, and what is wrong with it."""
