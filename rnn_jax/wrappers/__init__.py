"""Wrappers for any cell: dropout, zoneout, layer normalization, a learned initial carry."""
