"""The client: adds a number to the arrays and returns them, after ``pause`` seconds if the run has such a setting."""

from __future__ import annotations

import time

from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer. Each client adds another number."""
    time.sleep(float(context.run_config.get("pause", 0.0)))
    change = 1.0 + float(context.node_config["partition-id"])
    arrays = message.content.array_records["arrays"]
    changed = ArrayRecord({name: Array(array.numpy() + change) for name, array in arrays.items()})
    return Message(RecordDict({"arrays": changed}), reply_to=message)
