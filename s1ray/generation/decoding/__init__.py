"""What the transformers engine is made of: the cache, the batch and the choice of tokens."""
