"""Libraries that rnn_jax is compared with: one entry here and one file for each.

A file has `layer(problem)` and `job(sizes)`, and writes both as a user of its library would. It
is imported in a process of its own (`worker.py`), where the library finds the devices and threads
it finds by default.
"""

from typing import NamedTuple


class Peer(NamedTuple):
    """Name, module and devices of a library.

    Attributes:
      label: its name in rows, tables and figures.
      module: its file in this folder.
      package: what pip installs.
      devices: where it runs at all.
    """

    label: str
    module: str
    package: str
    devices: tuple[str, ...] = ("cpu", "gpu", "tpu")


PEERS = {
    "linen": Peer("Flax linen", "flax_linen", "flax"),
    "nnx": Peer("Flax NNX", "flax_nnx", "flax"),
    "haiku": Peer("Haiku", "haiku_rnn", "dm-haiku"),
    "equinox": Peer("Equinox", "equinox_rnn", "equinox"),
    "keras": Peer("Keras on JAX", "keras_rnn", "keras"),
    "torch": Peer("PyTorch", "torch_rnn", "torch", ("cpu", "gpu")),
    "cudnn": Peer("jax.experimental.rnn", "cudnn_rnn", "jax", ("gpu",)),
}
