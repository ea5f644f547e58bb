"""Figures: NumPy and matplotlib only."""
