"""FedAvg whose rounds begin when a file is there."""

import os

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from gated.gate import wait

if "E2E_SERVER_IMPORT_FAILS" in os.environ:
    raise ImportError("the server app cannot be imported")

app = ServerApp()


class GatedFedAvg(FedAvg):
    gate = ""

    def configure_train(self, server_round, arrays, config, grid):
        wait(self.gate, f"round-{server_round}")
        return super().configure_train(server_round, arrays, config, grid)


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = GatedFedAvg(
        min_train_nodes=config["clients"], min_available_nodes=config["clients"], fraction_evaluate=0.0
    )
    strategy.gate = config["gate"]
    model = ArrayRecord({"w": Array(np.random.randn(4, 4))})
    strategy.start(grid, model, num_rounds=config["rounds"])
    if config["raises"]:
        raise ValueError("the server app is broken")
