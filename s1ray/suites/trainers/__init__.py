"""The fine-tune against TRL's, each in a process of its own, step by step on the same samples."""
