"""Flower's records as contents, and back: exactly, and without pickle."""
