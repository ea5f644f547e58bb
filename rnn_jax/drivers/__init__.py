"""Drivers run a cell over a sequence: `unroll` is the entry, `scan` the reference."""
