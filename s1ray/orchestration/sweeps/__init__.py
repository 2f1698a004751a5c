"""Sweeps: a search space becomes trials, trials share what is the same, Ray Tune runs them."""
