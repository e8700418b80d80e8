"""FedAvg with a random start, and noise that the server draws in every round: another draw is another model.

So is another order of the replies: they are added to the noise one by one, since the sum of two floats shows no order.
The run ends once the file ``end`` is there, if its settings name one.
"""

import os
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class NoisyFedAvg(FedAvg):
    trouble = ""

    def configure_train(self, server_round, arrays, config, grid):
        if self.trouble == "clock":
            config = ConfigRecord({**config, "now": time.time()})
        if self.trouble == "abort" and server_round == 2:
            os.abort()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        arrays, metrics = super().aggregate_train(server_round, replies)
        model = arrays["w"].numpy()
        noise = np.random.randn(*model.shape)
        for reply in replies:
            noise = noise + reply.content["arrays"]["w"].numpy()
        return ArrayRecord({"w": Array(model + noise)}), metrics


@app.main()
def main(grid: Grid, context: Context) -> None:
    strategy = NoisyFedAvg(min_train_nodes=2, min_evaluate_nodes=2, min_available_nodes=2)
    strategy.trouble = context.run_config["trouble"]
    model = ArrayRecord({"w": Array(np.random.randn(8, 8))})
    strategy.start(grid, model, num_rounds=context.run_config["rounds"])
    while (end := context.run_config["end"]) and not Path(end).exists():
        time.sleep(0.01)
