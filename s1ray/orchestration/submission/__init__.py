"""Sending a command to a cluster: what is staged, how the job is named, and how it is followed."""
