"""The public names and import of `rnn_jax`, and the shape checks of these tests."""

import subprocess
import sys

import jax.numpy as jnp
import jaxtyping
import pytest

import rnn_jax
from rnn_jax.cells.array_ops import dot

AS_A_USER = """
import sys
import rnn_jax
assert "jax" not in sys.modules, "import rnn_jax starts JAX"
assert not hasattr(rnn_jax.unroll, "__wrapped__"), "calls of unroll are checked"
assert not hasattr(rnn_jax.LSTMCell.update, "__wrapped__"), "calls of update are checked"
assert "beartype" not in sys.modules, "beartype is imported"
"""


def test_import_is_lazy_and_without_shape_checks():
    subprocess.run([sys.executable, "-c", AS_A_USER], check=True)


@pytest.mark.parametrize("name", rnn_jax.__all__)
def test_each_public_name_exists(name):
    assert getattr(rnn_jax, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="LSTM_Cell"):
        _ = rnn_jax.LSTM_Cell


def test_in_tests_a_wrong_shape_inside_the_package_is_caught():
    with pytest.raises(jaxtyping.TypeCheckError, match=r"parameter 'w'(?s:.*)N=3"):
        dot(jnp.ones((2, 3)), jnp.ones((4, 5)))


def test_in_tests_a_wrong_shape_given_to_a_method_of_a_cell_is_caught():
    cell = rnn_jax.LSTMCell(2)
    with pytest.raises(jaxtyping.TypeCheckError, match="h_gates"):
        rnn_jax.GatedCell.update(cell, None, None, jnp.ones(8), jnp.ones(9))


def test_in_tests_a_wrong_dtype_given_to_a_lazily_imported_name_is_caught():
    cell = rnn_jax.LSTMCell(2)
    with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'xs'"):
        rnn_jax.unroll(cell, None, jnp.ones((4, 3), int))
