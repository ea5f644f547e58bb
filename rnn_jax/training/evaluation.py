"""Evaluation of a trained model on a whole data set, split over all devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnn_jax.typing import Data, Params


def make_predict(
    graphdef: nnx.GraphDef,
    predict: Callable[[nnx.Module, Data], Data],
    mesh: Mesh,
    batch_size: int = 500,
) -> Callable[[Params, Data], Data]:
    """Make a jitted function that applies a model to a whole data set in batches.

    Args:
      graphdef: the graph definition of the model.
      predict: `predict(model, batch) -> outputs`, arrays [B, ...] from arrays [B, ...].
      mesh: devices with the axis `data`.
      batch_size: maximum number of examples in a batch on each device.

    Returns:
      `(params, data) -> outputs`, arrays [N, ...] from arrays [N, ...], for any N.
    """

    def local(params, data):
        model = nnx.merge(graphdef, params)
        count = len(jax.tree.leaves(data)[0])
        size = min(batch_size, -(-count // mesh.size))
        share = -(-count // (size * mesh.size)) * size

        def own_batches(leaf):
            padding = [(0, share * mesh.size - count)] + [(0, 0)] * (leaf.ndim - 1)
            start = jax.lax.axis_index("data") * share
            own = jax.lax.dynamic_slice_in_dim(jnp.pad(leaf, padding), start, share)
            return own.reshape(-1, size, *leaf.shape[1:])

        def gathered(leaf):
            leaf = leaf.reshape(share, *leaf.shape[2:])
            return jax.lax.all_gather(leaf, "data", tiled=True)[:count]

        batches = jax.tree.map(own_batches, data)
        outputs = jax.lax.map(lambda batch: predict(model, batch), batches)
        return jax.tree.map(gathered, outputs)

    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))
