"""Pollen's built-in Flower app: image classifiers. An ordinary Flower app, which runs without Pollen too."""
