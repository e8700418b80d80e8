"""A Flower app whose strategy and clients have no more of a model in memory than they need."""
