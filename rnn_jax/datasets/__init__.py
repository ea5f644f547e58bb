"""Data sets: images, text, photographs of digits, and synthetic memory tasks."""
