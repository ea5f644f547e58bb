"""Conversion of weights from and to PyTorch, Keras and Flax linen, and cells inside Flax linen."""

from rnn_jax.interop.keras import from_keras, keras_weights, to_keras
from rnn_jax.interop.linen import from_linen, to_linen
from rnn_jax.interop.linen_cell import LinenCell
from rnn_jax.interop.pytorch import from_torch, to_torch, torch_weights

__all__ = [
    "LinenCell",
    "from_keras",
    "from_linen",
    "from_torch",
    "keras_weights",
    "to_keras",
    "to_linen",
    "to_torch",
    "torch_weights",
]
