"""The typed, frozen schema of conf/: one module per part of the recipe, no defaults."""
