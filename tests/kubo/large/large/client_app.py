"""A client that adds 1 once a file is there."""

import time
from pathlib import Path

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    while not Path(context.run_config["gate"]).exists():
        time.sleep(0.01)
    model = message.content["arrays"]["w"].numpy()
    content = {"arrays": ArrayRecord({"w": Array(model + 1)}), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(content), reply_to=message)
