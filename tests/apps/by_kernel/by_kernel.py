"""An app that sends a constant first, and then what each BLAS kernel sums in another order."""

import os
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server, client = ServerApp(), ClientApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    gate = context.node_config.get("gate", "")
    while gate and not Path(gate).exists():
        time.sleep(0.01)
    return Message(message.content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    numbers = np.random.default_rng(1).standard_normal(100_000).astype("float32")
    (node,) = grid.get_node_ids()
    for value in (np.float32(1), numbers @ numbers, np.float32(2)):
        sent = value * float(os.environ.get("SERVER_BENDS", "1"))
        content = RecordDict({"arrays": ArrayRecord({"w": Array(np.array([sent]))})})
        grid.send_and_receive([Message(content, node, "train")])
