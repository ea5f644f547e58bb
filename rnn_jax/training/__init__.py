"""Training: runs, training steps and the trainer, for experiments that read like recipes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
