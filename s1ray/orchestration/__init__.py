"""The only home of ray, wandb and hydra: thin edges around the plain core."""
