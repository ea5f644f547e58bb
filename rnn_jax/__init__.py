"""Recurrent networks in JAX: a cell is a few lines of math; everything else is written once.

Public names are listed in `__init__.pyi`. Each is imported when it is first used, so that
`import rnn_jax` is fast and settings that must precede the start of JAX can follow it.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
