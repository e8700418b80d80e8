"""A Flower app that does next to nothing with its arrays."""
