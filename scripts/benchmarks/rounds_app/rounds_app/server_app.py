"""The server: FedAvg, and ``rounds.json`` in the working directory: when each round ended, and the final model's hash.

Replies are put in the order of the clients' partitions first. Sums of floating-point numbers depend on their order, and
whoever is fast answers first; so without that no two runs would come to the same model, on any system.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class OrderedFedAvg(FedAvg):
    """FedAvg that sums in one order."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg, by partition."""
        return super().aggregate_train(server_round, _in_order(replies))

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg, by partition."""
        return super().aggregate_evaluate(server_round, _in_order(replies))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run so many rounds with all clients."""
    config = context.run_config
    size, count, clients = int(config["bytes"]), int(config["arrays"]), int(config["clients"])
    random = np.random.default_rng(1)
    model = {f"layer-{number}": random.random(size // count // 4, dtype=np.float32) for number in range(count)}
    ends: list[float] = []

    def ended(_: int, __: ArrayRecord) -> MetricRecord:
        ends.append(time.time())
        return MetricRecord()

    strategy = OrderedFedAvg(min_train_nodes=clients, min_evaluate_nodes=clients, min_available_nodes=clients)
    initial = ArrayRecord({name: Array(array) for name, array in model.items()})
    del model
    result = strategy.start(grid, initial, num_rounds=int(config["rounds"]), evaluate_fn=ended)
    told = {"ends": ends, "sha256": _hash(result.arrays), "losses": _losses(result.evaluate_metrics_clientapp)}
    Path("rounds.part").write_text(json.dumps(told))
    Path("rounds.part").replace("rounds.json")


def _in_order(replies: Iterable[Message]) -> list[Message]:
    listed = list(replies)
    for reply in listed:
        if reply.has_error():
            raise RuntimeError(f"a client failed: {reply.error}")
    return sorted(listed, key=lambda reply: int(reply.content.metric_records["metrics"]["partition"]))


def _hash(arrays: ArrayRecord) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        numbers = array.numpy()
        digest.update(f"{name} {numbers.dtype} {numbers.shape}\n".encode())
        digest.update(numbers.tobytes())
    return digest.hexdigest()


def _losses(metrics: dict[int, MetricRecord]) -> list[float]:
    return [float(record["loss"]) for _, record in sorted(metrics.items())]
