"""Memory, time and cost on paper."""
