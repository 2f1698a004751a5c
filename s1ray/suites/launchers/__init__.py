"""The same training loop under Ray Train and under torchrun."""
