"""Trains by adding noise."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    lr = message.content["config"]["lr"]
    arrays = {
        key: Array((array.numpy() + lr * np.random.default_rng().normal(size=array.shape)).astype(array.dtype))
        for key, array in message.content["arrays"].items()
    }
    metrics = MetricRecord({"num-examples": 10 + context.node_config["partition-id"], "loss": float("nan")})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    metrics = MetricRecord({"num-examples": 5, "accuracy": float(np.random.rand())})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
