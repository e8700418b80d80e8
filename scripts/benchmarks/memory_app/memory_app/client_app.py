"""The client: writes into the numbers that it got, one array after another, and answers with them."""

from __future__ import annotations

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
        numbers = arrays.pop(name).numpy()
        numbers += 1 + partition
        changed[name] = Array(numbers)
    metrics = MetricRecord({"num-examples": 100 + partition})
    return Message(RecordDict({"arrays": changed, "metrics": metrics}), reply_to=message)
