"""Reasoning traces to a checkpoint; torch and transformers, never ray."""
