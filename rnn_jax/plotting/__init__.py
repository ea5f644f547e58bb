"""Figures of runs; need NumPy and matplotlib only."""
