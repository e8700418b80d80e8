"""The client: changes each number a little, other than every other client does; evaluates by a mean."""

from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Move each number a step towards this client's own."""
    partition = int(context.node_config["partition-id"])
    arrays = message.content.array_records["arrays"]
    aim = np.float32(partition + 1)
    changed = ArrayRecord({name: Array(_moved(array.numpy(), aim)) for name, array in arrays.items()})
    metrics = MetricRecord({"num-examples": 100 + partition, "partition": partition})
    return Message(RecordDict({"arrays": changed, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The mean of all numbers, as the loss."""
    arrays = message.content.array_records["arrays"]
    loss = float(np.mean([np.mean(array.numpy(), dtype=np.float64) for array in arrays.values()]))
    partition = int(context.node_config["partition-id"])
    metrics = MetricRecord({"num-examples": 100 + partition, "partition": partition, "loss": loss})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _moved(numbers: np.ndarray, aim: np.float32) -> np.ndarray:
    return numbers + (aim - numbers) * np.float32(0.1)
