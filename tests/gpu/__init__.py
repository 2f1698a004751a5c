"""What needs an NVIDIA GPU (``make test-gpu``); runs without Ray, on torch and transformers."""
