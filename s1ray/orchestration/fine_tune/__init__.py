"""The fine-tune as a job on Ray Train, from its fit to its cost."""
