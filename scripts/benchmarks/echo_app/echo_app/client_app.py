"""The client: adds a number to the arrays and returns them."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer at once. Each client adds another number."""
    change = 1.0 + float(context.node_config["partition-id"])
    arrays = message.content.array_records["arrays"]
    changed = ArrayRecord({name: Array(array.numpy() + change) for name, array in arrays.items()})
    return Message(RecordDict({"arrays": changed}), reply_to=message)
