"""A Flower app whose server computes FedAvg and whose clients compute almost nothing."""
