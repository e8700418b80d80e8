"""Any strategy of Flower's over one random weight matrix."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp import strategy as strategies

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = getattr(strategies, config["strategy"])(
        min_train_nodes=2, min_available_nodes=2, fraction_evaluate=config["fraction-evaluate"]
    )
    size = config["size"]
    model = ArrayRecord({"w": Array(np.random.randn(size, size)), "b": Array(np.zeros(size, np.float32))})
    strategy.start(
        grid, model, num_rounds=config["num-server-rounds"], timeout=60, train_config=ConfigRecord({"lr": 0.1})
    )
