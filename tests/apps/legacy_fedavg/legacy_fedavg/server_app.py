"""An app in Flower's older style."""

import numpy as np
from flwr.app import Context
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.serverapp import ServerApp


def server_fn(context: Context) -> ServerAppComponents:
    config = context.run_config
    strategy = FedAvg(
        fraction_fit=0.7,
        min_fit_clients=config["min-nodes"],
        min_available_clients=config["min-nodes"],
        initial_parameters=ndarrays_to_parameters([np.random.randn(30, 5).astype(np.float32)]),
    )
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=config["num-server-rounds"]))


app = ServerApp(server_fn=server_fn)
