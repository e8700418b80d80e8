"""An ordinary Flower app: FedAvg, rounds of train and evaluate, and next to no training."""
