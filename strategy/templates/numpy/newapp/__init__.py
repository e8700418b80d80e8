"""A Flower app: softmax regression, in numpy alone."""
