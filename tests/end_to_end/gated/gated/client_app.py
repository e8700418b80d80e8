"""A client that adds noise: when a file is there, or not at all, as its node config says."""

import os

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
    wait(config.get("gate", ""), f"train-{message.content['config']['server-round']}")
    if config.get("raises"):
        raise ValueError("the client app is broken")
    if config.get("crashes"):
        os.abort()
    model = message.content["arrays"]["w"].numpy()
    arrays = ArrayRecord({"w": Array(model + np.random.randn(*model.shape))})
    metrics = MetricRecord({"num-examples": 10 + context.node_config["partition-id"]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
