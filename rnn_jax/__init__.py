"""Recurrent networks in JAX: a cell is a few lines of mathematics, the rest is written once."""

from importlib import import_module

_ROOMS = {
    "cell": ("Cell", "GatedCell", "GatedParams", "HiddenCarry", "LinearCell", "LinearParams"),
    "cells": (
        *("CELLS", "AntisymmetricRNNCell", "CoRNNCell", "ConvLSTMCell", "CoupledLSTMCell"),
        *("GRUCell", "GRUParams", "IRNNCell", "LRUCell", "LSTMCarry", "LSTMCell", "MinGRUCell"),
        *("MinLSTMCell", "MinimalGatedCell", "PeepholeLSTMCell", "ProjectedLSTMCell", "RGLRUCell"),
        *("RNNCell", "ResetBeforeGRUCell", "SLSTMCell", "UGRNNCell"),
    ),
    "errors": ("InputError", "RunError"),
    "models.sequence": ("SequenceClassifier", "SequenceModel"),
    "modules": ("RNN", "Bidirectional", "Stacked"),
    "reading": ("load_image_classifier",),
    "runs": ("load_run",),
    "scan": ("pick_driver", "unroll"),
    "wrappers": ("drop_connect", "dropout", "layer_norm", "learned_carry", "unbiased", "zoneout"),
    "watching": ("gate_activations", "unroll_carries"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name):
    # A name is imported when it is first used: `--help` and settings that must precede JAX's start
    # stay possible after `import rnn_jax`.
    if name not in _HOME:
        raise AttributeError(f"module 'rnn_jax' has no attribute {name!r}")
    return getattr(import_module(f"rnn_jax.{_HOME[name]}"), name)
