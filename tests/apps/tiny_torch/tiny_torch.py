"""Sends a torch model and a shuffled set, whose order is that of the string hashes."""

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server = ServerApp()
client = ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    model = torch.nn.Linear(8, 2)
    words = ConfigRecord({"words": list({"a", "b", "c", "d", "e", "f"})})
    content = RecordDict({"model": ArrayRecord(model.state_dict()), "words": words})
    grid.send_and_receive([Message(content, node, "train") for node in grid.get_node_ids()])


@client.train()
def train(message: Message, context: Context) -> Message:
    return Message(message.content, reply_to=message)
