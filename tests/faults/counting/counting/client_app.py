"""Counts its calls in its state and adds noise: one call too many, too few or with other draws is another model."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def count(context: Context) -> int:
    calls = context.state["count"]["calls"] + 1 if "count" in context.state else 1
    context.state["count"] = ConfigRecord({"calls": calls})
    return calls


@app.train()
def train(message: Message, context: Context) -> Message:
    model = message.content["arrays"]["w"].numpy()
    arrays = ArrayRecord({"w": Array(model + count(context) * np.random.randn(*model.shape))})
    metrics = MetricRecord({"num-examples": 10 + context.node_config["partition-id"]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    drawn = count(context) + float(np.random.rand())
    metrics = MetricRecord({"num-examples": 10, "drawn": drawn})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
