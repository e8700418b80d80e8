"""A NumPyClient that trains by adding noise."""

import numpy as np
from flwr.app import Context
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp


class Client(NumPyClient):
    def __init__(self, number):
        self.number = number

    def fit(self, parameters, config):
        return [array + np.random.randn(*array.shape).astype(array.dtype) for array in parameters], self.number + 1, {}

    def evaluate(self, parameters, config):
        return float(np.random.rand()), 3 + self.number, {"accuracy": 0.5}


def client_fn(context: Context):
    return Client(context.node_config["partition-id"]).to_client()


app = ClientApp(client_fn=client_fn)
