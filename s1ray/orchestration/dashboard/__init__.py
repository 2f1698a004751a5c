"""What Weights & Biases is sent of a run, by a process of its own."""
