"""A Flower app: a small classifier, in torch."""
