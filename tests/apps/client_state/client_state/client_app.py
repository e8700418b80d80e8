"""Counts its calls in its state, and raises at one of them."""

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    calls = context.state["count"]["calls"] + 1 if "count" in context.state else 1
    context.state["count"] = ConfigRecord({"calls": calls})
    if calls == context.run_config["raise-at"]:
        raise ValueError(f"this is call {calls}")
    count = MetricRecord({"calls": calls, "drawn": float(np.random.rand())})
    return Message(RecordDict({"count": count}), reply_to=message)
