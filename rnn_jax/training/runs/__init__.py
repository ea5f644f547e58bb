"""Run folders: configuration, metrics, checkpoints, and loading of saved runs."""
