"""The client: answers with the arrays, each one number higher."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer at once, each client with arrays of its own."""
    change = 1.0 + float(context.node_config["partition-id"])
    arrays = message.content.array_records["arrays"]
    changed = ArrayRecord({name: Array(array.numpy() + change) for name, array in arrays.items()})
    return Message(RecordDict({"arrays": changed}), reply_to=message)
