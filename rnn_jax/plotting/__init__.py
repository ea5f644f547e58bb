"""Figures of runs; these modules need only NumPy and matplotlib."""
