"""Weight conversion from and to other libraries, cells in Flax linen, and model files."""

from rnn_jax.interop.keras import from_keras, keras_weights, to_keras
from rnn_jax.interop.linen import from_linen, to_linen
from rnn_jax.interop.linen_cell import LinenCell
from rnn_jax.interop.pytorch import from_torch, to_torch, torch_weights
from rnn_jax.interop.stablehlo import export_sequences, export_step, load_exported
from rnn_jax.interop.tensors import load_tensors, save_tensors

__all__ = [
    "LinenCell",
    "export_sequences",
    "export_step",
    "from_keras",
    "from_linen",
    "from_torch",
    "keras_weights",
    "load_exported",
    "load_tensors",
    "save_tensors",
    "to_keras",
    "to_linen",
    "to_torch",
    "torch_weights",
]
