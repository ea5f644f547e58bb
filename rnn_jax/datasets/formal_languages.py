"""Formal languages: strings of any length with the answers of a recognizer or transducer.

Each example is a pure function of its key and length.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnn_jax.typing import Array, Float, Int, Key

MODULUS = 5
"""Size of the cycle, and modulus of the arithmetic."""
NO_TARGET = -1


class Batch(NamedTuple):
    """Strings, each followed by the steps of its answers.

    Attributes:
      xs: one-hot symbols; the last feature marks an answer step, and padding is zero.
      targets: class ids at answer steps, and -1 elsewhere.
    """

    xs: Float[Array, "T B D"]
    targets: Int[Array, "T B"]


Draw = Callable[[Key[Array, ""], Int[Array, ""], int], tuple[Array, Array, Array]]
"""`(key, length, longest) -> (length, symbols [longest], answers [R])`. The returned length is
the largest valid one not above the given one; symbols beyond it are ignored."""


@dataclasses.dataclass(frozen=True)
class Language:
    """A source of strings with their answers.

    Attributes:
      symbols: the alphabet, one character per symbol.
      num_classes: C, the number of different answers.
      draw: draws a string; see `Draw`.
      copies: number of answers per symbol of the string; 0 for one answer to the whole string.
    """

    symbols: str
    num_classes: int
    draw: Draw
    copies: int = 0

    @property
    def input_size(self) -> int:
        """D, the number of features of a step."""
        return len(self.symbols) + 1

    def steps(self, longest: int) -> int:
        """T, the number of steps for strings of up to `longest` symbols and their answers."""
        return longest + max(1, self.copies * longest)

    @functools.partial(jax.jit, static_argnums=(0, 3))
    def sample(self, keys: Key[Array, " B"], lengths: Int[Array, " B"], longest: int) -> Batch:
        """Draw a string of each length, at least 1 and at most `longest`, and pad it."""
        example = functools.partial(self._example, longest=longest)
        return jax.vmap(example, out_axes=1)(keys, lengths)

    def _example(self, key, length, longest):
        length, symbols, answers = self.draw(key, length, longest)
        steps = jnp.arange(self.steps(longest))
        place = steps - length
        asked = (place >= 0) & (place < (self.copies * length if self.copies else 1))
        symbols = jnp.where(place < 0, symbols[jnp.minimum(steps, longest - 1)], NO_TARGET)
        inputs = jnp.where(asked, len(self.symbols), symbols)
        answers = answers[jnp.clip(place, 0, len(answers) - 1)]
        targets = jnp.where(asked, answers, NO_TARGET)
        return Batch(jax.nn.one_hot(inputs, self.input_size), targets)


def parity(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """Class 1 for an odd number of ones in a binary string."""
    bits = jax.random.randint(key, (longest,), 0, 2)
    return length, bits, _sum(bits, length)[None] % 2


def even_pairs(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """Class 1 for an odd number of unequal neighbors, that is, for ends that differ."""
    bits = jax.random.randint(key, (longest,), 0, 2)
    return length, bits, (bits[0] ^ bits[length - 1])[None]


def cycle_navigation(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """The position on a cycle of 5 after moves of -1, 0 and 1 from position 0."""
    moves = jax.random.randint(key, (longest,), 0, 3)
    return length, moves, _sum(moves - 1, length)[None] % MODULUS


def modular_arithmetic(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """The value modulo 5 of digits joined by +, - and *; strings have an odd length."""
    length = length - 1 + length % 2
    key_d, key_o = jax.random.split(key)
    count = (longest + 1) // 2
    digits = jax.random.randint(key_d, (count,), 0, MODULUS)
    operators = jax.random.randint(key_o, (count,), 0, 3)
    symbols = jnp.stack([digits, MODULUS + operators], 1).reshape(-1)[:longest]

    def add_term(total_and_term, pair):
        (total, term), (digit, operator) = total_and_term, pair
        product = operator == 2
        total = jnp.where(product, total, total + term)
        term = jnp.where(product, term * digit, jnp.where(operator == 1, -digit, digit))
        values = total % MODULUS, term % MODULUS
        return values, sum(values) % MODULUS

    rest = digits[1:], operators[:-1]
    _, values = jax.lax.scan(add_term, (jnp.zeros_like(digits[0]), digits[0]), rest)
    return length, symbols, jnp.append(digits[:1], values)[length // 2][None]


def dyck(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """Class 1 for balanced brackets; strings have an even length.

    Half of the strings are balanced, uniform among those of their length. The others start
    balanced and are then either rotated or have one bracket flipped.
    """
    pairs = length // 2
    length = 2 * pairs
    key_u, key_k, key_p = jax.random.split(key, 3)
    steps = jnp.arange(longest + 1)
    # Raney's lemma: one rotation of n opening and n + 1 closing brackets is a balanced string
    # followed by a closing bracket.
    order = (
        jnp.where(steps <= length, jax.random.uniform(key_u, steps.shape), 2).argsort().argsort()
    )
    moves = jnp.where(order < pairs, 1, -1)
    heights = jnp.where(steps <= length, moves.cumsum(), 1)
    moves = moves[(steps + heights.argmin() + 1) % (length + 1)][:longest]
    kind = jax.random.randint(key_k, (), 0, 4)
    place = jax.random.randint(key_p, (), 0, jnp.maximum(length, 1))
    rotated = moves[(steps[:longest] + place) % jnp.maximum(length, 1)]
    flipped = moves * jnp.where(steps[:longest] == place, -1, 1)
    moves = jnp.select([kind == 0, kind == 1], [rotated, flipped], moves)
    heights = jnp.where(steps[:longest] < length, moves, 0).cumsum()
    balanced = (heights.min() >= 0) & (heights[-1] == 0)
    return length, (1 - moves) // 2, balanced.astype(jnp.int32)[None]


def reverse(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """The reversal of a binary string."""
    bits = jax.random.randint(key, (longest,), 0, 2)
    return length, bits, bits[(length - 1 - jnp.arange(longest)) % longest]


def duplicate(key: Key[Array, ""], length: Int[Array, ""], longest: int) -> tuple:
    """Two copies of a binary string."""
    bits = jax.random.randint(key, (longest,), 0, 2)
    return length, bits, bits[jnp.arange(2 * longest) % length]


def _sum(values, length):
    return jnp.where(jnp.arange(len(values)) < length, values, 0).sum()


LANGUAGES = {
    "parity": Language("01", 2, parity),
    "even_pairs": Language("01", 2, even_pairs),
    "cycle": Language("-0+", MODULUS, cycle_navigation),
    "arithmetic": Language("01234+-*", MODULUS, modular_arithmetic),
    "dyck": Language("()", 2, dyck),
    "reverse": Language("01", 2, reverse, copies=1),
    "duplicate": Language("01", 2, duplicate, copies=2),
}
"""The languages by name. A random guess is correct with probability 1 / `num_classes`."""
