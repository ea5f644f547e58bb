"""Flax NNX layers around cells."""
