"""s1ray: the s1 recipe (arXiv 2501.19393) as one reproducible experiment on a Ray cluster."""
