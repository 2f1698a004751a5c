"""The chat server: a plan that is checked and named, and its endpoint on Ray Serve."""
