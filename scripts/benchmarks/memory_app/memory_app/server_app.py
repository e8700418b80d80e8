"""The server: rounds of training with a strategy of Flower's, as it is. ``result.json`` says that it ended."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp, strategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run so many rounds with all clients."""
    config = context.run_config
    size, count, clients = int(config["bytes"]), int(config["arrays"]), int(config["clients"])
    random = np.random.default_rng(1)
    initial = ArrayRecord(
        {f"layer-{number}": Array(random.random(size // count // 4, dtype=np.float32)) for number in range(count)}
    )
    chosen = getattr(strategy, str(config["strategy"]))
    flower = chosen(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    result = flower.start(grid, initial, num_rounds=int(config["rounds"]))
    Path("result.part").write_text(json.dumps({"rounds": len(result.train_metrics_clientapp)}))
    Path("result.part").replace("result.json")
