"""Libraries that rnn_jax is compared with: an entry in `PEERS` and a module for each.

A module defines `layer(problem, devices)` and `job(sizes, devices)`, written as a user of the
library would write them. It is imported in a separate process (`worker.py`), so that each library
has its default threads.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """Name, module and devices of a library.

    Attributes:
      label: the name in rows, tables and figures.
      module: the module in this package.
      package: the name of the distribution for pip.
      devices: the supported devices.
      is_jax: whether a batch can be split over several devices of JAX.
    """

    label: str
    module: str
    package: str
    devices: tuple[str, ...] = ("cpu", "gpu", "tpu")
    is_jax: bool = True


PEERS = {
    "linen": Peer("Flax linen", "flax_linen", "flax"),
    "nnx": Peer("Flax NNX", "flax_nnx", "flax"),
    "haiku": Peer("Haiku", "haiku_rnn", "dm-haiku"),
    "equinox": Peer("Equinox", "equinox_rnn", "equinox"),
    "keras": Peer("Keras on JAX", "keras_rnn", "keras"),
    "torch": Peer("PyTorch", "torch_rnn", "torch", ("cpu", "gpu"), is_jax=False),
    "cudnn": Peer("jax.experimental.rnn", "cudnn_rnn", "jax", ("gpu",)),
}
