"""Trains by adding noise, through the mod that the strategy asks for."""

import json

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod

app = ClientApp()
MODS = {
    "DifferentialPrivacyClientSideFixedClipping": fixedclipping_mod,
    "DifferentialPrivacyClientSideAdaptiveClipping": adaptiveclipping_mod,
    "FedMedian": LocalDpMod(1.0, 0.1, 1.0, 1e-5),
}


def chosen_mod(message, context, call_next):
    mod = MODS.get(context.run_config["strategy"])
    return mod(message, context, call_next) if mod else call_next(message, context)


def tree(number, server_round):
    """A boosted tree as xgboost writes it, as far as the strategies read it."""
    grown = {"id": 0, "base_weights": np.random.randn(3).tolist(), "owner": number, "round": server_round}
    model = {
        "gbtree_model_param": {"num_trees": "1", "num_parallel_tree": "1"},
        "iteration_indptr": [0, 1],
        "trees": [grown],
        "tree_info": [0],
    }
    return json.dumps({"learner": {"gradient_booster": {"model": model}}}).encode()


def noisy(array):
    return Array(np.asarray((array * 0.9 + 0.1 * np.random.randn(*array.shape)).astype(array.dtype)))


@app.train(mods=[chosen_mod])
def train(message: Message, context: Context) -> Message:
    number = context.node_config["partition-id"]
    strategy = context.run_config["strategy"]
    if strategy.startswith("FedXgb"):
        grown = tree(number, message.content["config"]["server-round"])
        model = ArrayRecord([np.frombuffer(grown, dtype=np.uint8)])
    else:
        model = ArrayRecord({key: noisy(array.numpy()) for key, array in message.content["arrays"].items()})
    examples = 10 if strategy.startswith("DifferentialPrivacy") else 10 + number
    metrics = MetricRecord(
        {"train_loss": float(np.random.rand()), "num-examples": examples, "pair": [0.1, 0.3 * number]}
    )
    return Message(RecordDict({"arrays": model, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    metrics = MetricRecord({"loss": float(np.random.rand()), "num-examples": 5 + context.node_config["partition-id"]})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
