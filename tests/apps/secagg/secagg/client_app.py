"""A client whose updates only the sum of shows."""

import numpy as np
from flwr.app import Context
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp


class Client(NumPyClient):
    def fit(self, parameters, config):
        return [array * np.float32(0.9) for array in parameters], 10, {}


def client_fn(context: Context):
    return Client().to_client()


app = ClientApp(client_fn=client_fn, mods=[secaggplus_mod])
