"""Flower apps to begin with, each an ordinary app folder that runs as it is."""
