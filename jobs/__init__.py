"""The commands: every one is python -m jobs.<name> with Hydra overrides."""
