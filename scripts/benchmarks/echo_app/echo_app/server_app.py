"""The server: times each exchange as a ServerApp sees it, and its own aggregations. It writes both to
``seconds.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()

Model = dict[str, np.ndarray]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Send the model to all clients, take the mean of the replies, and repeat."""
    size, count = int(context.run_config["bytes"]), int(context.run_config["arrays"])
    clients = int(context.run_config["clients"])
    random = np.random.default_rng(1)
    model = {f"layer-{number}": random.random(size // count // 4, dtype=np.float32) for number in range(count)}
    seconds: list[float] = []
    aggregated: list[float] = []
    for _ in range(int(context.run_config["exchanges"])):
        content = RecordDict({"arrays": ArrayRecord({name: Array(array) for name, array in model.items()})})
        messages = [Message(content, node, "train") for node in grid.get_node_ids()]
        begun = time.perf_counter()
        replies = grid.send_and_receive(messages)
        for reply in replies:
            for array in reply.content.array_records["arrays"].values():
                len(array.data)  # arrays may be read only now
        seconds.append(time.perf_counter() - begun)
        if len(replies) != clients:
            raise RuntimeError(f"{len(replies)} of {clients} clients answered")
        begun = time.perf_counter()
        model = _mean(replies)
        aggregated.append(time.perf_counter() - begun)
    Path("seconds.json").write_text(json.dumps({"exchanges": seconds, "aggregations": aggregated}))


def _mean(replies: Sequence[Message]) -> Model:
    records = [reply.content.array_records["arrays"] for reply in replies]
    return {name: np.mean([record[name].numpy() for record in records], axis=0) for name in records[0]}
