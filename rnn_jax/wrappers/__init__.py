"""Cells around cells, for any cell: dropout, zoneout, layer normalization, a learned start."""
