"""Clients whose arrays are others than they were sent, in the ways that apps of Flower's own e2e tests are."""

import numpy as np
from flwr.app import Context
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

AIM = 5


class Widening(NumPyClient):
    """As e2e-bare: asked for whole numbers, it answers with floats, and with a text among the metrics."""

    def get_parameters(self, config):
        return [np.array([1])]

    def fit(self, parameters, config):
        return [array * (AIM / np.mean(array)) for array in parameters], 1, {"when": "1.5,2.5"}

    def evaluate(self, parameters, config):
        missing = float(abs(1 - np.mean(parameters[0]) / AIM))
        return min(missing, 1.0), 1, {"accuracy": 1 - missing, "when": "1.5,2.5"}


class Counting(NumPyClient):
    """As e2e-pandas: it has no model, and answers any question with two histograms."""

    def fit(self, parameters, config):
        values = np.random.randn(50)
        return [np.histogram(values)[0], np.histogram(values, bins=4)[0]], len(values), {}


class Scalars(NumPyClient):
    """As e2e-jax: one of its arrays is a single number."""

    def get_parameters(self, config):
        return [np.array(0.5, np.float32), np.zeros(3, np.float32)]

    def fit(self, parameters, config):
        return [np.asarray(array + np.float32(0.1)) for array in parameters], 75, {"loss": 0.5}

    def evaluate(self, parameters, config):
        return float(parameters[0]), 25, {"loss": 0.5}


class Counters(NumPyClient):
    """As e2e-fastai: a counter of batches beside the weights, which a mean makes a float and the model whole again."""

    def get_parameters(self, config):
        return [np.zeros((2, 2), np.float32), np.array(0)]

    def fit(self, parameters, config):
        return [parameters[0] + np.float32(1), np.array(int(parameters[1]) + 3)], 100, {}

    def evaluate(self, parameters, config):
        return 0.5, 100, {"accuracy": 0.5}


KINDS = {kind.__name__.lower(): kind for kind in (Widening, Counting, Scalars, Counters)}


def client_fn(context: Context):
    return KINDS[context.run_config["kind"]]().to_client()


app = ClientApp(client_fn=client_fn)
