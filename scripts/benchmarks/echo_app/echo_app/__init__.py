"""A Flower app that does almost nothing with its arrays."""
