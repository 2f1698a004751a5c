"""Where a model comes from: a source's name in, a local Hugging Face directory out."""
