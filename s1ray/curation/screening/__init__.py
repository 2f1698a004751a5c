"""Which items of a pool are worth a model's time."""
