"""Tests that take long for what they add to the others: marked `slow`, and left to CI."""

import pytest

SLOW = {}
"""By module, how the names of these tests start: `test_x` with all its parameters, `test_x[gru`."""


def mark(items, whole):
    """Mark the tests that `SLOW` names; where `whole` modules are collected, each name must fit."""
    modules = {}
    for item in items:
        modules.setdefault(item.path.stem, []).append(item)
    for module in SLOW.keys() & modules.keys():
        for start in SLOW[module]:
            found = [item for item in modules[module] if item.name.startswith(start)]
            for item in found:
                item.add_marker(pytest.mark.slow)
            if whole and not found:
                raise pytest.UsageError(f"tests/slow.py: no test of {module} starts with {start}")
