"""Drivers run a cell over a sequence: `unroll` is the entry point, `scan` the reference."""
