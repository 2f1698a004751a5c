"""How a training state is kept, found again and given back."""
