"""The compute dtype affects the matrices of products only, for every cell."""

import jax
import jax.numpy as jnp
import numpy as np
from cells import CELLS, every_cell
from flax import nnx

from rnn_jax import RNN, LRUCell, learned_carry
from rnn_jax.wrappers.orthogonal_recurrence import OrthogonalCell

T, D = 5, 2
MATRICES = {"w_x", "w_h", "w_p", "w_y", "w_z", "w_m", "w_s"}


def leaves(tree):
    return {
        jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


@every_cell
def test_only_matrices_are_cast(cell):
    layer = RNN(cell, D, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    exact, cast = RNN(cell, D, rngs=nnx.Rngs(0)).weights(), layer.weights()
    assert jax.tree.structure(exact) == jax.tree.structure(cast)
    narrow = {path for path, leaf in leaves(cast).items() if leaf.dtype == jnp.bfloat16}
    matrices = MATRICES - ({"w_h"} if isinstance(cell, OrthogonalCell) else set())
    assert {path.rpartition(".")[2] for path in narrow} <= matrices
    for path, leaf in leaves(exact).items():
        assert (path in narrow) == (path.rpartition(".")[2] in matrices)
        if path not in narrow:
            np.testing.assert_array_equal(leaves(cast)[path], leaf)


def test_a_bfloat16_lru_stays_close_over_many_steps():
    xs = jax.random.normal(jax.random.key(1), (400, 4, 8))
    for cell in LRUCell(32), learned_carry(LRUCell(32)):
        exact, rounded = (
            RNN(cell, 8, dtype=dtype, rngs=nnx.Rngs(0))(xs)[1] for dtype in (None, jnp.bfloat16)
        )
        error = np.sqrt(np.mean(np.square(exact - rounded)) / np.mean(np.square(exact)))
        assert 0 < error < 0.005


def test_peepholes_are_not_cast():
    """Peepholes [3, H] have two axes and enter no product."""
    layer = RNN(CELLS["peephole"].cell, D, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert layer.weights().p.dtype == jnp.float32
