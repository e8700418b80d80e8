"""The server: FedAvg, without evaluations. With ROUNDS_OTHERWISE set, each number is off by one unit in the last place,
as it may be on another machine."""

from __future__ import annotations

import os

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, strategy_utils

app = ServerApp()


def rounded_otherwise(array: np.ndarray) -> Array:
    """An array as another machine may have it."""
    return Array(np.nextafter(array, np.float32(np.inf)))


if "ROUNDS_OTHERWISE" in os.environ:
    strategy_utils.Array = rounded_otherwise


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    size, count = int(context.run_config["bytes"]), int(context.run_config["arrays"])
    clients = int(context.run_config["clients"])
    arrays = {f"layer-{number}": np.random.rand(size // count // 4).astype(np.float32) for number in range(count)}
    model = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    strategy.start(grid, model, num_rounds=int(context.run_config["rounds"]))
