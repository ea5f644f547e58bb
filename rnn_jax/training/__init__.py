"""Training: train step, trainer, losses, run folders, devices and commands."""
