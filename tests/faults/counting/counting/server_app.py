"""FedAvg with a random start, and noise that the server draws in every round: another draw is another model."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class NoisyFedAvg(FedAvg):
    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        model = arrays["w"].numpy()
        return ArrayRecord({"w": Array(model + np.random.randn(*model.shape))}), metrics


@app.main()
def main(grid: Grid, context: Context) -> None:
    strategy = NoisyFedAvg(min_train_nodes=2, min_evaluate_nodes=2, min_available_nodes=2)
    model = ArrayRecord({"w": Array(np.random.randn(8, 8))})
    strategy.start(grid, model, num_rounds=context.run_config["rounds"])
