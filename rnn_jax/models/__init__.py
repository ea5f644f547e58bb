"""Models around a recurrent layer: what is read, and what is said of it."""
