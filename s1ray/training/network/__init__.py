"""What a step computes: the model, its attention, its loss, and how it lies on the ranks."""
