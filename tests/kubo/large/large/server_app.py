"""One round of FedAvg with one client, of a model as large as its run says."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    side = context.run_config["side"]
    model = ArrayRecord({"w": Array(np.random.default_rng(1).random((side, side)))})
    FedAvg(min_train_nodes=1, min_available_nodes=1, fraction_evaluate=0.0).start(grid, model, num_rounds=1)
