"""Cells around cells, for any cell: dropout, zoneout, layer normalisation, a learned start."""

from rnn_jax.wrappers.dropout import drop_connect, dropout
from rnn_jax.wrappers.layer_norm import layer_norm
from rnn_jax.wrappers.learned_carry import learned_carry
from rnn_jax.wrappers.zoneout import zoneout

__all__ = ["drop_connect", "dropout", "layer_norm", "learned_carry", "zoneout"]
