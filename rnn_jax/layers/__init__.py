"""Flax NNX layers: `RNN`, `Bidirectional`, `Stacked`."""
