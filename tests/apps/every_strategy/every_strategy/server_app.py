"""Any strategy of Flower's over arrays of several types, with an evaluation on the server that draws at random; or one
that the app's own code has a part in."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp import strategy as strategies

from every_strategy.steering import steered

app = ServerApp()

OPTIONS = {
    "FedProx": {"proximal_mu": 0.1},
    "FedTrimmedAvg": {"beta": 0.2},
    "FedAvgM": {"server_learning_rate": 0.7, "server_momentum": 0.9},
    "Krum": {"num_malicious_nodes": 1},
    "Bulyan": {"num_malicious_nodes": 1},
    "MultiKrum": {"num_malicious_nodes": 1, "num_nodes_to_select": 3},
    "QFedAvg": {"client_learning_rate": 0.1, "q": 0.2},
}


def build(name, config):
    nodes = config["min-nodes"]
    common = {"fraction_train": config["fraction-train"], "min_train_nodes": 2, "min_available_nodes": nodes}
    if name == "FedXgbCyclic":
        return strategies.FedXgbCyclic(fraction_train=1.0, fraction_evaluate=1.0, min_available_nodes=nodes)
    kind = getattr(strategies, name)
    if name.startswith("DifferentialPrivacy"):
        clipping = [] if "Adaptive" in name else [1.0]
        return kind(strategies.FedAvg(**common), 0.3, *clipping, nodes)
    return kind(**common, **OPTIONS.get(name, {}))


def first_model(name, columns):
    if name.startswith("FedXgb"):
        return ArrayRecord([np.frombuffer(b"", dtype=np.uint8)])
    return ArrayRecord(
        {
            "w": Array(np.random.randn(64, 32).astype(np.float32)),
            "b": Array(np.zeros(32, np.float32)),
            "wide": Array(np.random.randn(32, columns)),
            "half": Array(np.random.randn(7, 3).astype(np.float16)),
            "scalar": Array(np.asarray(1.5)),
        }
    )


def evaluate(_round, model):
    if "w" not in model:
        return None
    examples = np.random.randn(16, 64).astype(np.float32)
    return MetricRecord({"loss": float(np.mean((examples @ model["w"].numpy() + model["b"].numpy()) ** 2))})


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    if config["steering"]:
        steered(grid, config["steering"])
        return
    build(config["strategy"], config).start(
        grid=grid,
        initial_arrays=first_model(config["strategy"], config["columns"]),
        num_rounds=config["num-server-rounds"],
        timeout=60,
        train_config=ConfigRecord({"lr": 0.01}),
        evaluate_fn=evaluate if config["central-evaluation"] else None,
    )
