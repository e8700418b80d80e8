"""A client that adds noise. Its node config says if it waits for a file, and tells that, if it fails, or sends an odd
update."""

import os
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from gated.gate import wait

if "E2E_CLIENT_IMPORT_FAILS" in os.environ:
    raise ImportError("the client app cannot be imported")

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    config = context.node_config
    gate = f"train-{message.content['config']['server-round']}"
    if config.get("tells"):
        (Path(config["gate"]) / f"at-{gate}").touch()
    wait(config.get("gate", ""), gate)
    if config.get("raises"):
        raise ValueError("the client app is broken")
    if config.get("crashes"):
        os.abort()
    model = message.content["arrays"]["w"].numpy()
    noise = np.random.randn(*model.shape)
    updates = {
        "nan": np.full_like(model, np.nan),
        "shape": np.zeros((2, 8)),
        "scaled": model + 100 * noise,
    }
    arrays = ArrayRecord({"w": Array(updates.get(config.get("update"), model + noise))})
    metrics = MetricRecord({"num-examples": 10 + context.node_config["partition-id"]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
