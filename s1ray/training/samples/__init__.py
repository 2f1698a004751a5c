"""How traces become the packed batches of a step."""
