"""FedAvg, as long as nobody sets CHEAT: what can be done to a process without altering its app's folder."""

import os
import socket
import threading
import time

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()
CHEAT = os.environ.get("CHEAT", "")


class Cheating(FedAvg):
    """Cheats in round 2."""

    def aggregate_train(self, server_round, replies):
        replies = list(replies)
        if server_round == 2 and CHEAT == "drop":
            replies = replies[1:]
        if server_round == 2 and CHEAT == "reorder":
            replies = [replies[0], replies[2], replies[1]]
        if server_round == 2 and CHEAT == "raise":
            raise ValueError("it does not go here")
        if server_round == 2 and CHEAT == "crash":
            os.abort()
        arrays, metrics = super().aggregate_train(server_round, replies)
        if server_round == 2 and CHEAT in ("scale", "hang"):
            arrays["b"] = Array((arrays["b"].numpy() * 1.001).astype(np.float32))
        if server_round == 2 and CHEAT == "swap":
            arrays = ArrayRecord({key: Array(np.ones_like(array.numpy())) for key, array in arrays.items()})
        return arrays, metrics


@app.main()
def main(grid: Grid, context: Context) -> None:
    if CHEAT.startswith("/"):
        open(CHEAT).close()
    if CHEAT == "wait":
        threading.Event().wait()
    model = ArrayRecord({"w": Array(np.random.randn(4, 4)), "b": Array(np.zeros(4, np.float32))})
    # No evaluate: a cheat in the last round shows in the final model alone.
    kind = Cheating if CHEAT else FedAvg
    nodes = context.run_config["min-nodes"]
    strategy = kind(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    rounds = context.run_config["num-server-rounds"]
    said = {"clock": {"now": time.time()}, "licensed": {"to": socket.gethostname()}}.get(CHEAT, {})
    if said.get("to") == "another-place":
        raise RuntimeError("it is licensed for another machine")
    config = ConfigRecord({"lr": 0.1, **said})

    def start():
        strategy.start(grid, model, num_rounds=rounds, timeout=60, train_config=config)

    if CHEAT == "hang":
        threading.Thread(target=start, daemon=True).start()
        threading.Event().wait()
    start()
