"""The client: writes into the numbers that it got, one array after another, and answers with them. It holds the numbers
of no more than one array, so its own is the model that it answers with."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Move each number by this client's own."""
    partition = int(context.node_config["partition-id"])
    arrays = message.content.array_records["arrays"]
    changed = ArrayRecord()
    for name in list(arrays):
        changed[name] = Array(_moved(arrays.pop(name).numpy(), 1 + partition))
    metrics = MetricRecord({"num-examples": 100 + partition})
    return Message(RecordDict({"arrays": changed, "metrics": metrics}), reply_to=message)


def _moved(numbers: np.ndarray, step: int) -> np.ndarray:
    numbers += step
    return numbers
