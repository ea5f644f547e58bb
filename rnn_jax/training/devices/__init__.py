"""Devices and processes: meshes, rendezvous and agreement of settings."""
