"""The client: adds noise, so that no two replies have the same content."""

from __future__ import annotations

import time

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer as soon as the time for training is over."""
    time.sleep(float(context.run_config["train-seconds"]))
    arrays = {
        name: Array(array.numpy() + np.random.rand(*array.shape).astype(np.float32))
        for name, array in message.content.array_records["arrays"].items()
    }
    metrics = MetricRecord({"num-examples": 10 + int(context.node_config["partition-id"])})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)
