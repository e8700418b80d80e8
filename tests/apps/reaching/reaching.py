"""Both apps look at places of their machine, and say which of them they reached: the client in a metric, the server as
an error. The places are paths, ``port:N`` on loopback, and ``variable:NAME``; a comma is between them."""

import os
import socket
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

server, client = ServerApp(), ClientApp()


def reached(config) -> list[str]:
    return [place for place in str(config["reach"]).split(",") if place and is_reached(place)]


def is_reached(place: str) -> bool:
    kind, _, what = place.partition(":")
    try:
        if kind == "port":
            socket.create_connection(("127.0.0.1", int(what)), 5).close()
            return True
        if kind == "variable":
            return what in os.environ
        return Path(place).is_dir() or bool(Path(place).read_bytes())
    except OSError:
        return False


@server.main()
def main(grid, context):
    if found := reached(context.node_config if "reach" in context.node_config else context.run_config):
        raise RuntimeError(f"reached {found}")
    arrays = ArrayRecord([np.zeros(int(context.run_config["size"]))])
    FedAvg(fraction_evaluate=0.0).start(grid=grid, initial_arrays=arrays, num_rounds=2)


@client.train()
def train(message, context):
    arrays = ArrayRecord([array + 1 for array in message.content["arrays"].to_numpy_ndarrays()])
    metrics = MetricRecord({"num-examples": 1, "reached": len(reached(context.node_config))})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
