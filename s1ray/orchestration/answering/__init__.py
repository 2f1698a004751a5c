"""Questions answered at every budget on Ray Serve, graded, and graded again."""
