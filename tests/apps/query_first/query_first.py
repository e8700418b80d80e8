"""Asks the nodes how much they have, then sends messages to nodes drawn by that: often two to one node in one push."""

import random

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server = ServerApp()
client = ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    nodes = [node.node_id for node in grid.get_nodes()]
    asked = grid.send_and_receive([Message(RecordDict(), node, "query.size") for node in nodes])
    sizes = {reply.metadata.src_node_id: reply.content["has"]["size"] for reply in asked}
    model = np.zeros(4)
    for number in range(context.run_config["rounds"]):
        chosen = random.choices(list(sizes), weights=list(sizes.values()), k=2)
        contents = [RecordDict({"arrays": ArrayRecord([model + place])}) for place in range(2)]
        messages = [
            Message(content, node, "train.special", ttl=30 + number)
            for content, node in zip(contents, chosen, strict=True)
        ]
        for reply in grid.send_and_receive(messages):
            model = model - reply.error.code if reply.has_error() else model + reply.content["arrays"]["0"].numpy()
    final = RecordDict({"arrays": ArrayRecord([model]), "sizes": ConfigRecord({str(k): v for k, v in sizes.items()})})
    grid.send_and_receive([Message(final, node, "evaluate") for node in nodes])


@client.query("size")
def size(message: Message, context: Context) -> Message:
    has = MetricRecord({"size": 10 + context.node_config["partition-id"]})
    return Message(RecordDict({"has": has}), reply_to=message)


@client.train("special")
def train(message: Message, context: Context) -> Message:
    calls = context.state["count"]["calls"] + 1 if "count" in context.state else 1
    context.state["count"] = ConfigRecord({"calls": calls})
    if calls == 2:
        raise ValueError("the second call")
    (model,) = message.content["arrays"].to_numpy_ndarrays()
    return Message(RecordDict({"arrays": ArrayRecord([model * 0.5 + calls + np.random.randn(4)])}), reply_to=message)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return Message(RecordDict(), reply_to=message)
